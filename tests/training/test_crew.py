"""What a crew promises, whichever executor trains it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from archsearch.training.crew import REPORTS
from archsearch.training.loop import Executor
from archsearch.training.looped import Looped
from archsearch.training.member import Member
from archsearch.training.stacked import Stacked
from tests.training.runs import BATCH, COHORTS, MIXED, STEPS, alone, assert_close, assert_equal, begin, document

both = pytest.mark.parametrize("executor", [Looped(cores=2), Stacked()], ids=["looped", "stacked"])


def same(executor: Executor, found: Member, expected: Member) -> None:
    (assert_equal if isinstance(executor, Looped) else assert_close)(found, expected)


@both
def test_members_of_all_kinds_end_as_alone(executor: Executor):
    members = [begin(plain) for plain in MIXED]
    ended: list[Member] = []
    with executor.crew() as crew:
        for member in members:
            crew.add(member, 1.0)
        while there := crew.wait():
            ended += [member for member, _ in there]
    assert {id(member) for member in ended} == {id(member) for member in members} and len(ended) == len(members)
    for plain, member in zip(MIXED, members):
        same(executor, member, alone(plain))


@both
def test_what_is_asked_of_a_member_at_its_goal_is_handed_out(executor: Executor):
    first, second = (begin(plain) for plain in MIXED[:2])
    asked: list[int] = []

    def look(member: Member) -> str:
        asked.append(member.step)
        return f"at {member.step}"

    with executor.crew() as crew:
        crew.add(first, 0.5, look)
        crew.add(second, 0.25)
        assert crew.pending == 2
        found = {id(member): result for there in iter(crew.wait, []) for member, result in there}
        assert crew.pending == 0 and crew.wait() == []
        crew.add(second, 0.25, lambda member: member.step)  # there already
        assert crew.wait() == [(second, STEPS // 4)]
    assert found == {id(first): f"at {STEPS // 2}", id(second): None} and asked == [STEPS // 2]


@both
def test_events_do_not_happen_twice_where_a_goal_is_reached_again(executor: Executor):
    member = begin(MIXED[0])
    with executor.crew() as crew:
        for goal in (0.35, 0.35, 1.0, 1.0):  # the first is a revival's moment
            crew.add(member, goal)
            assert [found for found, _ in crew.wait()] == [member]
    same(executor, member, alone(MIXED[0]))


@both
def test_who_diverges_is_handed_out_and_nothing_is_asked_of_it(executor: Executor):
    wild = begin(document("relu", training={"optimizer": {"kind": "adam", "lr": 1e200}, "clip_norm": None}))
    tame = begin(MIXED[0])
    with executor.crew() as crew:
        for member in (wild, tame):
            crew.add(member, 1.0, lambda member: member.step)
        found = {id(member): result for there in iter(crew.wait, []) for member, result in there}
        crew.add(wild, 1.0, lambda member: member.step)
        assert crew.wait() == [(wild, None)]
    assert found == {id(wild): None, id(tame): STEPS}
    assert wild.failure is not None and "stopped being finite" in wild.failure
    same(executor, tame, alone(MIXED[0]))


@both
@pytest.mark.parametrize("after", [0, 5])
def test_told_to_stop_everybody_rests_between_two_chunks_and_can_go_on(executor: Executor, after: int):
    members, rows = [begin(plain) for plain in MIXED[:3]], []
    enough = after

    with executor.crew(rows.append, lambda: len(rows) >= enough) as crew:
        for member in members:
            crew.add(member, 1.0)
        while crew.wait():
            pass
        steps = [member.step for member in members]
        assert crew.pending > 0 and sum(rows) == BATCH * sum(steps)
        assert len(rows) == 0 if after == 0 else after <= len(rows) <= after + len(members)
        assert all(
            step % (STEPS // REPORTS) == 0 or step in member.assembly.receipt.events["revival"] for step, member in zip(steps, members)
        )
        assert [member.step for member in members] == steps < [STEPS] * 3
        enough = 10**9
        crew.wait()  # goes on
    for member in members:
        rest = executor.crew()
        with rest:
            rest.add(member, 1.0)
            rest.wait()
    for plain, member in zip(MIXED, members):
        same(executor, member, alone(plain))


@both
def test_one_member_stops_exactly_when_told(executor: Executor):
    member, rows = begin(MIXED[0]), []
    with executor.crew(rows.append, lambda: len(rows) >= 4) as crew:
        crew.add(member, 1.0)
        assert crew.wait() == []
    assert len(rows) == 4 and member.step == 4 * STEPS // REPORTS


@both
def test_rows_are_told_in_the_thread_that_waits(executor: Executor):
    told: list[tuple[int, int]] = []
    with executor.crew(lambda rows: told.append((rows, threading.get_ident()))) as crew:
        for plain in MIXED[:3]:
            crew.add(begin(plain), 1.0)
        while crew.wait():
            pass
    assert sum(rows for rows, _ in told) == 3 * STEPS * BATCH
    assert {thread for _, thread in told} == {threading.get_ident()}


def _breaks(*_: Any) -> Any:
    raise ValueError("planted")


@both
def test_what_is_raised_at_a_goal_comes_out_and_the_others_can_go_on(executor: Executor):
    members = [begin(plain) for plain in COHORTS["steered"]]
    ended: list[tuple[Member, Any]] = []
    asked: list[Member] = []
    with executor.crew() as crew:
        for member in members:
            crew.add(member, 1.0, _breaks if member is members[1] else lambda member: asked.append(member) or member.step)
        with pytest.raises(ValueError, match="planted"):
            while there := crew.wait():
                ended += there
        while there := crew.wait():
            ended += there
    assert {id(member): found for member, found in ended} == {id(members[0]): STEPS, id(members[2]): STEPS}
    assert len(ended) == len(asked) == 2
    for index in (0, 2):
        same(executor, members[index], alone(COHORTS["steered"][index]))


@both
@pytest.mark.parametrize("where", ["step", "event"])
def test_what_a_step_or_an_event_raises_comes_out(executor: Executor, where: str):
    member = begin(MIXED[0])
    if where == "step":
        member.batches.take = _breaks
    else:
        member.assembly.revival.apply_to = _breaks  # pyright: ignore
    with executor.crew() as crew:
        crew.add(member, 1.0)
        with pytest.raises(ValueError, match="planted"):
            crew.wait()
    assert member.step == (0 if where == "step" else 0.35 * STEPS)


@pytest.mark.parametrize("executor", [Looped(cores=1), Stacked(most=1)], ids=["looped", "stacked"])
def test_lower_ranks_go_first_where_places_are_few(executor: Executor):
    order: list[tuple[int, ...]] = []
    with executor.crew() as crew:
        for rank in ((2,), (0, 1), (1,), (0,)):
            crew.add(begin(MIXED[0]), 0.2, lambda _, rank=rank: order.append(rank), rank)
        while crew.wait():
            pass
    assert order == [(0,), (0, 1), (1,), (2,)]
