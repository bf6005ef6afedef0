"""Holes are read with precise messages, and sampled so that values can meet again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.errors import InvalidInput, Problem
from archsearch.spec.holes import ChoiceHole, FloatHole, IntHole, OneOf, Repeat, read_tree


def read(node: Any, **options: bool) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    return read_tree(node, ("here",), problems, **options), [str(p) for p in problems]


@pytest.mark.parametrize(
    ("node", "hole"),
    [
        ({"float": [0.1, 10], "log": True}, FloatHole(0.1, 10.0, True)),
        ({"float": [-1, 1]}, FloatHole(-1.0, 1.0)),
        ({"int": [4, 64], "log": True}, IntHole(4, 64, True)),
        ({"choice": ["b", "a"]}, ChoiceHole(("a", "b"))),
        ({"choice": ["b", 10, 2, None, True, 2.5]}, ChoiceHole((None, True, 2, 2.5, 10, "b"))),
        ({"oneof": {"b": "topk", "a": {"k": {"int": [1, 2]}}}}, OneOf({"b": "topk", "a": {"k": IntHole(1, 2)}})),
        ({"float": [0.1, 10], "prior": 1}, FloatHole(0.1, 10.0, prior=(1.0,))),
        ({"int": [4, 64], "log": True, "prior": 4}, IntHole(4, 64, True, (4,))),
        ({"choice": ["b", None, 2], "prior": None}, ChoiceHole((None, 2, "b"), (None,))),
        ({"choice": [1.0, 2], "prior": 1}, ChoiceHole((1.0, 2), (1.0,))),
        ({"oneof": {"b": "topk", "a": "relu"}, "prior": "b"}, OneOf({"b": "topk", "a": "relu"}, ("b",))),
    ],
)
def test_holes_are_read(node: Any, hole: Any):
    assert read(node) == (hole, [])


def test_a_repeat_stands_in_a_graph_only():
    node = {"repeat": "relu", "max": 2}
    assert read(node, in_graph=True) == (Repeat("relu", 0, 2), [])
    assert read({"graph": {"deep": node}})[1] == []
    assert read({"losses": {"deep": node}})[1] == [
        "here.losses.deep: `repeat` stands for blocks in a row: it may only be an entry of a `graph:`"
    ]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"float": [3, 1]}, "here.float: the lowest value comes first; got [3, 1]: write [1, 3]"),
        ({"float": [3, 3]}, "here.float: a range must have more than one value; got [3, 3]: write 3 instead"),
        ({"float": [0, 3], "log": True}, "here.float: a logarithmic range must start above zero; got [0, 3]"),
        ({"float": [1, "2"]}, "here.float: must be two numbers, lowest and highest, as in `{float: [0.1, 10]}`; got [1, '2']"),
        ({"float": 3}, "here.float: must be two numbers, lowest and highest, as in `{float: [0.1, 10]}`; got 3"),
        ({"int": [1, 2.5]}, "here.int: must be two whole numbers, lowest and highest, as in `{int: [4, 64]}`; got [1, 2.5]"),
        ({"int": [True, 3]}, "here.int: must be two whole numbers, lowest and highest, as in `{int: [4, 64]}`; got [True, 3]"),
        ({"float": [1, 2], "log": "yes"}, "here.log: must be true or false; got 'yes'"),
        ({"choice": []}, "here.choice: must list at least one value, as in `{choice: [a, b]}`; got []"),
        ({"choice": "ab"}, "here.choice: must list at least one value, as in `{choice: [a, b]}`; got 'ab'"),
        ({"choice": [1, True]}, "here.choice: may list each value once (1, 1.0 and true count as one); got True twice"),
        ({"oneof": ["a"]}, "here.oneof: must map names of branches to what they stand for; got ['a']"),
        ({"float": [1, 2], "prior": 3}, "here.prior: a prior must be a number from 1 to 2, the hole's own range; got 3"),
        ({"float": [1, 2], "prior": None}, "here.prior: a prior must be a number from 1 to 2, the hole's own range; got None"),
        ({"int": [1, 4], "prior": 2.5}, "here.prior: a prior must be a whole number from 1 to 4, the hole's own range; got 2.5"),
        ({"choice": [1, 2], "prior": True}, "here.prior: a prior must be one of the hole's own values; got True; valid: [1, 2]"),
        (
            {"oneof": {"topk": 1, "relu": 2}, "prior": "tpk"},
            "here.prior: a prior must be one of the hole's own values; got 'tpk'; did you mean 'topk'? (valid: relu, topk)",
        ),
    ],
)
def test_what_a_hole_cannot_be(node: Any, said: str):
    assert read(node)[1] == [said]


def test_a_misspelt_option_names_the_nearest():
    assert "a 'float' hole has no key 'logg'; did you mean 'log'?" in read({"float": [1, 2], "logg": True})[1][0]
    assert read({"float": [1, 2], "logg": True})[1][0].startswith("here.logg: ")


def test_a_choice_among_blocks_says_oneof():
    assert "a choice among blocks is `oneof`" in read({"choice": [{"kind": "topk"}]})[1][0]


def test_names_of_branches_stay_readable_in_names_of_holes():
    assert "letters, digits, `_` and `-` only; got 'a.b'" in read({"oneof": {"a.b": 1}})[1][0]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"repeat": "relu"}, "here: a `repeat` must say its `max`"),
        ({"repeat": "relu", "min": 2, "max": 2}, "here.max: must be a whole number above min (2); got 2"),
        ({"repeat": "relu", "min": -1, "max": 2}, "here.min: must be a whole number, 0 or more; got -1"),
        ({"repeat": 3, "max": 2}, "here.repeat: must be a block; got 3"),
        (
            {"repeat": "relu", "max": 2, "prior": 3},
            "here.prior: a prior must be a whole number from 0 to 2, the hole's own range; got 3",
        ),
    ],
)
def test_what_a_repeat_cannot_be(node: Any, said: str):
    assert read(node, in_graph=True)[1] == [said]


class Always:
    """Suggests one value, whatever is asked."""

    def __init__(self, value: Any):
        self.value = value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self.value

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return self.value

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.value


def test_floats_are_cut_to_three_digits_within_their_range():
    hole = FloatHole(0.00012345, 12.345)
    assert hole.suggest("lr", Always(0.00123456)) == 0.00123
    assert hole.suggest("lr", Always(12.3449)) == 12.3
    assert hole.suggest("lr", Always(0.000123451)) == 0.00012345  # cut, it would lie below the range


@given(st.floats(1e-6, 1e6))
def test_cutting_twice_changes_nothing(value: float):
    hole = FloatHole(1.23456e-6, 987654.0, True)
    inside = min(max(value, hole.low), hole.high)
    once = hole.suggest("x", Always(inside))
    assert hole.low <= once <= hole.high
    assert hole.suggest("x", Always(once)) == once


@pytest.mark.parametrize(
    ("hole", "value"),
    [(FloatHole(1, 2), 2.5), (FloatHole(1, 2), True), (IntHole(1, 4), 5), (IntHole(1, 4), 2.5), (ChoiceHole(("a", "b")), "c")],
)
def test_a_stored_value_outside_its_hole_is_refused(hole: Any, value: Any):
    with pytest.raises(InvalidInput, match="lr must be"):
        hole.suggest("lr", Always(value))


def test_spread_has_both_ends():
    assert FloatHole(1, 100, True).spread(3) == [1.0, 10.0, 100.0]
    assert FloatHole(0, 1).spread(1) == [0.5]
    assert IntHole(4, 64, True).spread(4) == [4, 10, 25, 64]
    assert IntHole(4, 5).spread(4) == [4, 5]
    assert ChoiceHole(("a", "b", "c")).spread(2) == ["a", "c"]


def test_the_holes_of_a_structure_hand_their_prior_on():
    assert Repeat("relu", 0, 2, (1,)).count == IntHole(0, 2, prior=(1,))
    assert OneOf({"b": 1, "a": 2}, ("b",)).tags == ChoiceHole(("a", "b"), ("b",))
