"""Members of one structure side by side, at different steps of their runs: each as alone."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.errors import InvalidInput
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member
from archsearch.training.stack import Stack
from archsearch.training.stacked import Stacked
from tests.training.runs import BATCH, COHORTS, MIXED, STEPS, alone, assert_close, begin, document


@pytest.mark.parametrize("documents", COHORTS.values(), ids=COHORTS)
def test_members_that_join_at_any_step_end_as_alone(documents: list[dict[str, Any]]):
    first, second, third = members = [begin(plain) for plain in documents]
    assert len({member.assembly.receipt.structure for member in members}) == 1
    sizes: list[int] = []
    with Stacked().crew(lambda rows: sizes.append(rows)) as crew:
        crew.add(first, 0.35)
        assert [member for member, _ in crew.wait()] == [first]
        crew.add(first, 1.0)
        crew.add(second, 0.1)
        assert [member for member, _ in crew.wait()] == [second] and (first.step, second.step) == (0.45 * STEPS, 0.1 * STEPS)
        for member in (second, third):
            crew.add(member, 1.0)
        assert [[member for member, _ in there] for there in iter(crew.wait, [])] == [[first], [second], [third]]
    assert sum(sizes) == 3 * STEPS * BATCH
    for plain, member in zip(documents, members):
        _without(member, [0.1, 0.35], alone(plain))
        assert_close(member, alone(plain))


def _without(member: Member, goals: list[float], expected: Member) -> None:
    """Leaves the points out that a curve has because there was a goal."""
    extra = {round(STEPS * goal) for goal in goals} - set(dict(expected.history))
    member.history = [(step, terms) for step, terms in member.history if step not in extra]


def test_a_point_of_the_curve_is_noted_where_the_member_has_one_only():
    """Goals off the grid put the second member out of step with the first: stops of one lie between those of the other."""
    first, second = (begin(plain) for plain in COHORTS["steered"][:2])
    with Stacked().crew() as crew:
        crew.add(first, 3 / STEPS)
        crew.wait()
        crew.add(first, 1.0)
        crew.add(second, 1.0)
        while crew.wait():
            pass
    grid = list(range(2, STEPS + 1, 2))
    assert [step for step, _ in first.history] == sorted([*grid, 3]) and [step for step, _ in second.history] == grid


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)], ids=["the same order of rows", "an order each"])
@pytest.mark.parametrize("apart", [0, 4])
def test_rows_are_those_of_each_ones_own_step(seeds: tuple[int, int], apart: int):
    documents = [document({"kind": "topk", "k": 3}, training={"data_seed": seed, "seed": index}) for index, seed in enumerate(seeds)]
    ahead, behind = members = [begin(plain) for plain in documents]
    expected = [begin(plain) for plain in documents]
    train([ahead], Looped(), until_frac=apart / STEPS)
    for told, member in zip(Stack(members).advance(6), expected):
        train([member], Looped(), until_frac=(6 + apart * (member is expected[0])) / STEPS)
        assert told == pytest.approx(member.history[-1][1], rel=1e-9)
    assert (ahead.step, behind.step) == (6 + apart, 6)


@pytest.mark.parametrize("most", [1, 2])
def test_a_stack_has_no_more_members_than_allowed(most: int):
    documents, rows = COHORTS["steered"], []
    members = [begin(plain) for plain in documents]
    train(members, Stacked(most), tick=rows.append)
    assert max(rows) == most * BATCH * STEPS / 20
    for plain, member in zip(documents, members):
        assert_close(member, alone(plain))


def test_a_stack_without_members_is_refused():
    with pytest.raises(InvalidInput, match="at least one member; got most=0"):
        Stacked(most=0)


def test_time_is_shared_by_the_members_of_a_stack():
    members = [begin(plain) for plain in COHORTS["steered"][:2]]
    train([*members, lone := begin(MIXED[0])], Stacked(), until_frac=0.2)
    assert members[0].seconds == members[1].seconds > 0 < lone.seconds != members[0].seconds
