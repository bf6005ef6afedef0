"""Members on a pool of workers: none's numbers tell who trained beside it, nor on how many cores."""

from __future__ import annotations

import random
from threading import Event
from typing import Any

import pytest
import torch

from archsearch.training.looped import Looped
from tests.training.runs import MIXED, STEPS, alone, assert_equal, begin


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_members_put_in_while_others_run_end_as_alone_bit_for_bit(cores: int):
    plain = [*MIXED, MIXED[0]]
    random.Random(cores).shuffle(plain)
    members = [begin(one) for one in plain]
    goals = {id(member): iter((0.2, 0.55, 1.0)) for member in members}
    waiting = list(members)
    with Looped(cores).crew() as crew:
        for _ in range(2):
            crew.add(waiting.pop(), 0.1)
        while there := crew.wait():
            for member, _ in there:
                if waiting:
                    crew.add(waiting.pop(), 0.1)
                if goal := next(goals[id(member)], None):
                    crew.add(member, goal, rank=(member.step,))
    for one, member in zip(plain, members):
        expected = alone(one)
        extra = [step for step, _ in member.history if step not in dict(expected.history)]
        assert set(extra) <= {round(STEPS * goal) for goal in (0.1, 0.2, 0.55)}, "a goal is a point of the curve"
        member.history = [(step, terms) for step, terms in member.history if step not in extra]
        assert_equal(member, expected)


def test_everything_takes_one_thread_and_the_callers_count_comes_back():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with Looped(cores=2).crew() as crew:
            assert torch.get_num_threads() == 1
            for plain in MIXED[:2]:
                crew.add(begin(plain), 0.1, lambda _: torch.get_num_threads())
            assert [found for there in iter(crew.wait, []) for _, found in there] == [1, 1]
        assert torch.get_num_threads() == 3
        with pytest.raises(ValueError, match="planted"), Looped().crew() as crew:
            raise ValueError("planted")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_members_of_equal_rank_take_turns():
    members = [begin(MIXED[0]) for _ in range(3)]
    steps: list[list[int]] = []
    with Looped(cores=1).crew(lambda _: steps.append([member.step for member in members])) as crew:
        for member in members:
            crew.add(member, 0.5)
        while crew.wait():
            pass
    chunk = STEPS // 20
    assert all(max(now) - min(now) <= 2 * chunk for now in steps)


def test_they_go_on_while_nobody_waits():
    first, second, arrived = begin(MIXED[0]), begin(MIXED[1]), Event()
    with Looped(cores=1).crew() as crew:
        crew.add(first, 0.1, rank=(0,))
        crew.add(second, 0.5, lambda _: arrived.set(), rank=(1,))
        assert [member for member, _ in crew.wait()] == [first]
        assert arrived.wait(60)
        assert [member for member, _ in crew.wait()] == [second]


def test_nobody_begins_another_chunk_once_told_to_stop():
    """One worker has turns left for the others when the first is through its second chunk, which lasts until `stop` was asked."""
    members, told, asked = [begin(plain) for plain in (*MIXED, MIXED[0])], [], Event()
    take, second = members[0].batches.take, STEPS // 20

    def slow(step: int) -> Any:
        assert step < second or asked.wait(60)
        return take(step)

    def stop() -> bool:
        if told:
            asked.set()
        return bool(told)

    members[0].batches.take = slow
    with Looped(cores=1).crew(told.append, stop) as crew:
        for rank, member in enumerate(members):
            crew.add(member, 1.0, rank=(rank,))
        assert crew.wait() == [] and crew.pending == 5
    assert [member.step for member in members] == [2 * second, 0, 0, 0, 0] and len(told) == 2
