from __future__ import annotations

import copy
from typing import Any

import pytest

from archsearch.spec.inputs import bound, stands_for

NAMES = ("blocks.1.hook_out", "blocks.2.hook_out")
TREE: dict[str, Any] = {
    "inputs": ["early", "late"],
    "graph": {
        "first": {"kind": "linear_encoder", "from": "early"},
        "second": {"oneof": {"a": {"kind": "linear_encoder", "from": [{"signal": "late", "detach": True}]}}},
        "inside": {"kind": "sae", "width": 4, "from": "late", "graph": {"early": {"kind": "linear_encoder", "from": "late"}}},
        "both": {"kind": "add", "from": {"terms": ["first", "second"]}},
        "plain": "relu",
    },
    "outputs": {"early": "to_early", "late": "late"},
    "losses": {"one": {"kind": "squared_error", "of": "to_early", "from": {"target": "early"}}},
    "training": {"tokens": 5},
}


def test_inputs_are_taken_in_the_order_of_the_hook_points():
    before = copy.deepcopy(TREE)
    assert bound(TREE, NAMES) == {
        "inputs": [*NAMES],
        "graph": {
            "first": {"kind": "linear_encoder", "from": NAMES[0]},
            "second": {"oneof": {"a": {"kind": "linear_encoder", "from": [{"signal": NAMES[1], "detach": True}]}}},
            "inside": {"kind": "sae", "width": 4, "from": NAMES[1], "graph": {"early": {"kind": "linear_encoder", "from": "late"}}},
            "both": {"kind": "add", "from": {"terms": ["first", "second"]}},
            "plain": "relu",
        },
        "outputs": {NAMES[0]: "to_early", NAMES[1]: NAMES[1]},
        "losses": {"one": {"kind": "squared_error", "of": "to_early", "from": {"target": NAMES[0]}}},
        "training": {"tokens": 5},
    }
    assert before == TREE, "what was given is left as it is"
    assert list(bound(TREE, NAMES)["graph"]) == list(TREE["graph"])


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["late", "early"], ("early", "late")),
        (["early", "other"], ("early", "late")),
        (["early", "late"], ("one", "two", "three")),
        ({"choice": [1, 2]}, NAMES),
    ],
    ids=["by name, in any order", "one of them by name", "not as many", "a hole"],
)
def test_nothing_else_is_renamed(inputs: Any, names: tuple[str, ...]):
    tree = {**TREE, "inputs": inputs}
    assert bound(tree, names) is tree


def test_a_single_activation_has_any_name():
    assert stands_for(["residual"], ("x",)) == {"residual": "x"}
    assert stands_for(None, ("x",)) == {"x": "x"}
    assert stands_for(None, NAMES) == {"x": "x"}


def test_names_may_be_swapped_without_meeting():
    swapped = bound({"inputs": ["a", "b"], "outputs": {"a": "b", "b": "a"}, "graph": {}}, ("c", "d"))
    assert swapped["outputs"] == {"c": "d", "d": "c"}
