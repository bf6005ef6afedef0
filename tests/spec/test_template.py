"""Filling is a function of names and values alone: refilled, a document is the same one; reordered, a space is the same space."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.errors import InvalidInput
from archsearch.spec.holes import ChoiceHole, IntHole
from archsearch.spec.template import Template

SAE = {
    "width": 8,
    "graph": {
        "encoder": "linear_encoder",
        "extra": {"repeat": {"kind": "linear_map", "size": {"int": [1, 9]}}, "min": 0, "max": 3},
        "gate": {"oneof": {"topk": {"kind": "topk", "k": {"int": [1, 4]}}, "relu": "relu"}},
    },
    "training": {"lr": {"float": [0.1, 1]}},
    "list": [{"float": [1, 2]}, 5],
}
VARIANTS = {"loss": {"oneof": {"none": {}, "l1": {"losses.sparsity": {"kind": "l1", "weight": {"float": [1, 30], "log": True}}}}}}


class Draw:
    """Draws from a seeded generator, in the order it is asked."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.asked: list[str] = []

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked.append(name)
        return self.random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.asked.append(name)
        return self.random.randint(low, high)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.append(name)
        return self.random.choice(choices)


@pytest.fixture
def template() -> Template:
    return Template.read(SAE, VARIANTS)


def test_names_are_paths_and_carry_their_branches(template: Template):
    assert sorted(template.parameters()) == [
        "graph.extra",
        "graph.extra@1.size",
        "graph.extra@2.size",
        "graph.extra@3.size",
        "graph.gate",
        "graph.gate@topk.k",
        "list.0",
        "loss",
        "loss@l1.losses.sparsity.weight",
        "training.lr",
    ]


def test_parameters_say_when_they_are_there(template: Template):
    found = template.parameters()
    assert found["graph.gate"].hole == ChoiceHole(("relu", "topk")) and found["graph.gate"].condition == {}
    assert found["graph.gate@topk.k"].condition == {"graph.gate": ("topk",)}
    assert found["graph.extra"].hole == IntHole(0, 3)
    assert found["graph.extra@2.size"].condition == {"graph.extra": (2, 3)}
    assert found["loss@l1.losses.sparsity.weight"].condition == {"loss": ("l1",)}


def test_a_hole_some_branches_replace_is_there_in_the_others():
    sae = {"graph": {"gate": {"kind": "topk", "k": {"int": [1, 4]}}}}
    variants = {"gate": {"oneof": {"plain": {}, "relu": {"graph.gate": "relu"}, "jump": {"graph.gate": "jumprelu"}}}}
    template = Template.read(sae, variants)
    assert template.parameters()["graph.gate.k"].condition == {"gate": ("plain",)}
    assert template.refill({"gate": "relu"}).document == {"graph": {"gate": "relu"}}
    assert template.refill({"gate": "plain", "graph.gate.k": 2}).document == {"graph": {"gate": {"kind": "topk", "k": 2}}}


def test_conditions_are_exact(template: Template):
    parameters = template.parameters()
    for seed in range(60):
        params = template.fill(Draw(seed)).params
        there = {n for n, p in parameters.items() if all(name in params and params[name] in v for name, v in p.condition.items())}
        assert there == set(params)


def test_a_repeat_stands_in_place_under_numbered_labels(template: Template):
    params = {"graph.extra": 2, "graph.extra@1.size": 3, "graph.extra@2.size": 4, "graph.gate": "relu", "list.0": 1.5}
    filled = template.refill(params | {"loss": "none", "training.lr": 0.5})
    assert list(filled.document["graph"]) == ["encoder", "extra_1", "extra_2", "gate"]
    assert filled.document["graph"]["extra_2"] == {"kind": "linear_map", "size": 4}
    assert filled.path_of["graph.extra@2.size"] == ("graph", "extra_2", "size")


def test_a_label_a_repeat_needs_may_not_be_taken():
    sae = {"graph": {"extra": {"repeat": "relu", "min": 1, "max": 2}, "extra_1": "relu"}}
    with pytest.raises(InvalidInput, match=r"sae\.graph\.extra: the copies of 'extra' need the label 'extra_1'"):
        Template.read(sae).refill({"graph.extra": 1})


def test_a_branch_may_repeat_or_be_nothing():
    sae = {"graph": {"gate": "relu", "extra": {"oneof": {"deep": {"repeat": "linear_map", "min": 1, "max": 2}, "none": None}}}}
    template = Template.read(sae)
    assert template.refill({"graph.extra": "none"}).document == {"graph": {"gate": "relu"}}
    deep = template.refill({"graph.extra": "deep", "graph.extra@deep": 1})
    assert deep.document == {"graph": {"gate": "relu", "extra_1": "linear_map"}}


def test_holes_with_one_name_are_refused():
    with pytest.raises(InvalidInput, match=r"two holes would bear the name 'width' \(the other: variants.width\)"):
        Template.read({"width": {"int": [1, 2]}}, {"width": {"oneof": {"a": {"graph": {}}}}})


def test_the_order_of_keys_changes_neither_names_nor_the_order_of_asking():
    backwards = dict(reversed(SAE.items()))
    one, other = Draw(3), Draw(3)
    here = Template.read(SAE, VARIANTS).fill(one)
    there = Template.read(backwards, VARIANTS).fill(other)
    assert one.asked == other.asked and here.document == there.document


def test_what_was_written_where(template: Template):
    filled = template.refill(
        {
            "graph.extra": 1,
            "graph.extra@1.size": 2,
            "graph.gate": "topk",
            "graph.gate@topk.k": 2,
            "list.0": 1.0,
            "training.lr": 0.1,
        }
        | {"loss": "l1", "loss@l1.losses.sparsity.weight": 3.0}
    )
    assert filled.locate("graph.gate.k") == "sae.graph.gate.oneof.topk.k"
    assert filled.locate("graph.gate.kk") == "sae.graph.gate.oneof.topk.kk"
    assert filled.locate("graph.extra_1.size") == "sae.graph.extra.repeat.size"
    assert filled.locate("losses.sparsity.weight") == "variants.loss.oneof.l1.losses.sparsity.weight"
    assert filled.locate("losses") == "variants.loss.oneof.l1.losses.sparsity"
    assert filled.locate("nowhere") == "sae.nowhere" and filled.locate("") == "sae"


def test_refilling_names_what_is_missing_unknown_or_outside(template: Template):
    good = template.fill(Draw(0)).params
    with pytest.raises(InvalidInput, match=r"no value for the hole 'training\.lr'"):
        template.refill({name: value for name, value in good.items() if name != "training.lr"})
    with pytest.raises(InvalidInput, match=r"no hole 'training\.lrr' is there; did you mean 'training\.lr'"):
        template.refill(good | {"training.lrr": 1})
    with pytest.raises(InvalidInput, match=r"training\.lr must be a number from 0\.1 to 1\.0; got 7"):
        template.refill(good | {"training.lr": 7})


def test_optuna_trials_fill_and_their_own_params_refill(template: Template):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        filled = template.fill(trial)
        assert template.refill(trial.params) == filled
        study.tell(trial, 0.0)


keys = st.sampled_from(["a", "b", "c", "graph", "k"])
primitives = st.sampled_from(["topk", 3, 0.5, None, True])
value_holes = st.sampled_from(
    [{"float": [0.1234567, 7]}, {"int": [1, 4], "log": True}, {"choice": ["x", "y", 2]}, {"float": [1e-4, 1e-1], "log": True}]
)


def extend(inner: Any) -> Any:
    mapping = st.dictionaries(keys, inner, max_size=3)
    oneof = st.dictionaries(st.sampled_from(["p", "q", "r"]), inner, min_size=1, max_size=2).map(lambda branches: {"oneof": branches})
    return mapping | oneof | st.lists(inner, max_size=2)


trees = st.dictionaries(keys, st.recursive(primitives | value_holes, extend, max_leaves=8), min_size=1, max_size=3)


@settings(max_examples=100, deadline=None)
@given(trees, st.integers(0, 1000))
def test_refilled_documents_are_identical(tree: Any, seed: int):
    template = Template.read(tree, {"v": {"oneof": {"one": {"new.place": {"int": [1, 3]}}, "two": {}}}})
    filled = template.fill(Draw(seed))
    assert template.refill(filled.params) == filled
    assert repr(template.refill(filled.params).document) == repr(filled.document)
    assert set(filled.params) <= set(template.parameters())
