"""A space file is read with every problem at once, filled, swept, and told apart from another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archsearch.errors import InvalidInput
from archsearch.spec.space import Space, corners, sparsity_holes
from archsearch.spec.template import Template
from archsearch.spec.yaml import dump, loads

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))
FIELDS = {"topk": "k", "batch_topk": "k", "l1": "weight"}

SMALL = """\
name: small
sae:
  width: 8
  graph: {encoder: linear_encoder, gate: relu, decoder: linear_decoder}
  training: {optimizer: {kind: adam, lr: {float: [0.001, 0.1], log: true}}}
variants:
  gate:
    oneof:
      relu: {losses.sparsity: {kind: l1, weight: {float: [1, 30], log: true}}}
      topk: {graph.gate: {kind: topk, k: {int: [4, 64], log: true}}}
study: {sweep: 2}
"""


def space(text: str = SMALL, **replaced: str) -> Space:
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return Space.read(loads(text, file="small.yaml"))


def refused(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        Space.read(loads(text, file="small.yaml"))
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_space_loads(path: Path):
    found = Space.load(path)
    assert found.name == path.stem and found.question
    assert Space.read(loads(dump(found.source.data))).fingerprint() == found.fingerprint()


def test_what_is_not_written_has_a_default():
    found = space()
    assert found.activations.source == "bundled" and found.baselines == []
    assert (found.study.trials, found.study.sweep, found.study.objectives) == (24, 2, ["l0", "fvu"])


def test_all_problems_come_at_once_each_with_its_line():
    text = SMALL.replace("[0.001, 0.1]", "[0.1, 0.001]").replace(
        "weight: {float: [1, 30], log: true}", "weight: {float: [0, 30], log: true}"
    )
    text = text.replace("study: {sweep: 2}", "study: {sweep: 0, trails: 3, objectives: [l0, fvuu]}\nactivations: {source: bundled, hok: x}")
    found = refused(text + "bands: 3\n")
    assert [line.split(": ")[0] for line in found] == [
        "small.yaml:5 -> sae.training.optimizer.lr.float",
        "small.yaml:9 -> variants.gate.oneof.relu.losses.sparsity.weight.float",
        "small.yaml:11 -> study.sweep",
        "small.yaml:11 -> study.objectives.1",
        "small.yaml:11 -> study.trails",
        "small.yaml:12 -> activations.hok",
        "small.yaml:13 -> bands",
    ]
    assert "unknown key 'trails'; did you mean 'trials'?" in found[4]
    assert "unknown key 'hok'; did you mean 'hook'?" in found[5]
    assert "got 0" in found[2] and "got 'fvuu'" in found[3]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: small\n", "", "small.yaml:1 -> name: 'name' must be given"),
        ("name: small", "name: a/b", "small.yaml:1 -> name: "),
        (
            "study: {sweep: 2}",
            "study: {band: [64, 4]}",
            "study.band: must be [lowest, highest] with 0 < lowest < highest; got [64, 4]",
        ),
        ("study: {sweep: 2}", "study: {objectives: [l0, l0]}", "study.objectives: may name each objective once; got ['l0', 'l0']"),
        (
            "study: {sweep: 2}",
            "study: {objectives: [l0, fvuu]}",
            "study.objectives.1: must be one of l0, fvu, ce_recovered, dead_frac, flops; got 'fvuu'; did you mean 'fvu'?",
        ),
        ("study: {sweep: 2}", "study: {band: [2]}", "study.band: must be two numbers, lowest and highest, as in `[4, 64]`; got [2]"),
        ("study: {sweep: 2}", "study: {trials: null}", "study.trials: must be a whole number; got null"),
        ("study: {sweep: 2}", "study: {trials: true}", "study.trials: must be a whole number; got true"),
        ("study: {sweep: 2}", "study: {trials: 0}", "study.trials: must be at least 1; got 0"),
        ("study: {sweep: 2}", "study: {objectives: []}", "study.objectives: must hold at least one entry; got []"),
        ("study: {sweep: 2}", "baselines: [topk, topk]", "baselines: may name each baseline once; got ['topk', 'topk']"),
        ("name: small", "name: a b", "name: may hold letters (a to z, A to Z), digits, `_` and `-` only"),
        (
            "study: {sweep: 2}",
            "activations: {source: bundled, tokens: 100000000000000}",
            "activations.tokens: must be at most 10,000,000,000,000",
        ),
        ("study: {sweep: 2}", "baselines: [3]", "baselines: must be a list of names of recipes, or a mapping of names to SAEs"),
        ("study: {sweep: 2}", "activations: {source: bundeld}", "unknown source 'bundeld'; did you mean 'bundled'?"),
        (
            "study: {sweep: 2}",
            "activations: {source: model, model: x}",
            "small.yaml:11 -> activations.hook: 'hook' must be given",
        ),
        ("study: {sweep: 2}", "study: {sparsity: gate@topk.graph.gate.q}", "no hole 'gate@topk.graph.gate.q'; did you mean"),
    ],
)
def test_what_a_space_cannot_say(old: str, new: str, said: str):
    assert old in SMALL
    assert any(said in line for line in refused(SMALL.replace(old, new)))


def test_a_space_without_a_hole_is_refused():
    assert refused("name: closed\nsae: {width: 8}\nstudy: {sweep: 1}\n") == [
        "small.yaml:2 -> sae: a space must leave something open; there is no hole in it"
    ]


@pytest.mark.parametrize("hole", ["{choice: [8]}", "{oneof: {only: 8}}"])
def test_a_space_without_a_real_choice_is_refused(hole: str):
    text = f"name: small\nsae:\n  width: {hole}\n  graph: {{encoder: linear_encoder}}\nstudy: {{sweep: 1}}\n"
    assert refused(text) == ["small.yaml:2 -> sae: a space must leave something open; each of its holes has one value only (width)"]


def test_corners_show_every_branch_count_and_end_of_a_range():
    found = space().corners()
    values: dict[str, set[Any]] = {}
    for filled in found:
        for name, value in filled.params.items():
            values.setdefault(name, set()).add(value)
    assert values == {
        "gate": {"relu", "topk"},
        "gate@relu.losses.sparsity.weight": {1.0, 5.48, 30.0},
        "gate@topk.graph.gate.k": {4, 16, 64},
        "training.optimizer.lr": {0.001, 0.01, 0.1},
    }
    assert len(found) == 6


def test_corners_reach_what_is_nested():
    sae = {
        "graph": {
            "deep": {"repeat": {"oneof": {"a": "relu", "b": {"kind": "topk", "k": {"choice": [1, 2, 3]}}}}, "min": 0, "max": 2},
            "gate": {"kind": {"choice": ["topk", "batch_topk"]}},
        }
    }
    template = Template.read(sae)
    seen = {(name, value) for filled in corners(template) for name, value in filled.params.items()}
    assert seen == {(name, value) for name, parameter in template.parameters().items() for value in parameter.values()}


def test_the_sparsity_hole_is_found_by_what_kinds_declare():
    found = space()
    names = {filled.params["gate"]: found.sparsity_hole(filled, FIELDS) for filled in found.corners()}
    assert names == {"relu": "gate@relu.losses.sparsity.weight", "topk": "gate@topk.graph.gate.k"}
    assert found.sparsity_hole(found.corners()[0], {}) is None


def test_two_sparsity_holes_need_one_to_be_named():
    both = SMALL.replace("graph.gate: {kind: topk", "losses.sparsity: {kind: l1, weight: {float: [1, 2]}}, graph.gate: {kind: topk")
    filled = next(filled for filled in space(both).corners() if filled.params["gate"] == "topk")
    with pytest.raises(InvalidInput, match=r"study\.sparsity: two sparsity settings are open together \(gate@topk\.graph\.gate\.k, gate@"):
        space(both).sparsity_hole(filled, FIELDS)
    named = space(both.replace("study: {sweep: 2}", "study: {sparsity: gate@topk.graph.gate.k}"))
    assert named.sparsity_hole(filled, FIELDS) == "gate@topk.graph.gate.k"
    relu = next(filled for filled in named.corners() if filled.params["gate"] == "relu")
    assert named.sparsity_hole(relu, FIELDS) == "gate@relu.losses.sparsity.weight"


def test_sparsity_holes_are_found_in_nested_graphs():
    inner = {"kind": "sae", "width": 4, "graph": {"gate": {"kind": "topk", "k": {"choice": [1, 2]}}}}
    filled = corners(Template.read({"graph": {"coarse": inner}}))[0]
    assert sparsity_holes(filled, FIELDS) == ["graph.coarse.graph.gate.k"]


def test_spelling_does_not_change_the_fingerprint():
    assert space().fingerprint() == space(**{"name: small": "question: why?\nname: small"}).fingerprint()
    assert space().fingerprint() == space(**{"study: {sweep: 2}": "study: {trials: 99, sweep: 2, seed: 0}"}).fingerprint()
    assert space().fingerprint() == space(**{"{float: [1, 30], log: true}": "{log: true, float: [1.0, 30]}"}).fingerprint()
    assert space().fingerprint() == space(**{"name: small": "activations: {source: bundled}\nname: small"}).fingerprint()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[1, 30]", "[1, 40]", "variants.gate.relu.losses.sparsity.weight.float: [1.0, 30.0] -> [1.0, 40.0]"),
        ("width: 8", "width: 9", "sae.width: 8 -> 9"),
        ("sweep: 2", "sweep: 3", "study.sweep: 2 -> 3"),
        ("sweep: 2", "sweep: 2, seed: 3", "study.seed: nothing -> 3"),
        (
            "encoder: linear_encoder, gate: relu,",
            "gate: relu, encoder: linear_encoder,",
            "sae.graph.(order): ['encoder', 'gate', 'decoder'] -> ['gate', 'encoder', 'decoder']",
        ),
        ("[4, 64], log: true", "[4, 64], log: true, prior: 8", "variants.gate.topk.graph.gate.k.prior: nothing -> 8"),
        ("variants:\n  gate:\n", "variants:\n  gate:\n    prior: topk\n", "variants.gate.(prior): nothing -> 'topk'"),
    ],
)
def test_another_space_has_another_fingerprint_and_says_where(old: str, new: str, line: str):
    other = space(**{old: new})
    assert space().fingerprint() != other.fingerprint()
    assert space().difference(other) == [line]
    assert space().difference(space()) == []


def test_a_sweep_over_l0_is_a_hole_that_every_branch_meets_at_every_level():
    found = space(SMALL.replace("study: {sweep: 2}", "study: {sweep: {l0: [3, 6]}}"))
    assert {(c.params["gate"], c.params["target_l0"]) for c in found.corners()} == {(g, l0) for g in ("relu", "topk") for l0 in (3, 6)}
    assert found.study.levels == 2


def test_an_l0_is_asked_for_in_one_place_only():
    text = "name: one\nsae: {target_l0: 8, width: {choice: [8, 16]}, graph: {encoder: linear_encoder}}\n"
    assert "target_l0" not in {parameter for filled in space(text).corners() for parameter in filled.params}
    assert "say it in one place only" in refused(text + "study: {sweep: {l0: [8, 16]}}\n")[0]


@pytest.mark.parametrize("levels", ["[true, 6]", "[0, 6]", "[6, 6]", "['8']"])
def test_levels_of_l0_are_different_numbers_above_zero(levels: str):
    (said,) = refused(SMALL.replace("study: {sweep: 2}", f"study: {{sweep: {{l0: {levels}}}}}"))
    assert said.startswith("small.yaml:11 -> study.sweep: must be different numbers above 0; got [")


@pytest.mark.parametrize(
    "sweep", ["{l0: 16}", "{levels: [8, 16]}", "{l0: []}", "{l0: [8], n: 3}", "{}", "[8, 16]", "0", "true", "four", "4.5"]
)
def test_a_sweep_that_is_neither_a_number_nor_levels_is_refused_in_one_sentence(sweep: str):
    (said,) = refused(SMALL.replace("study: {sweep: 2}", f"study: {{sweep: {sweep}}}"))
    what = "must be a whole number of levels, 1 or more, or a list of L0s, as in `{l0: [8, 16, 32, 64]}`; got "
    assert said.startswith(f"small.yaml:11 -> study.sweep: {what}")


def test_a_space_without_priors_has_the_fingerprint_it_always_had():
    assert space().fingerprint() == "262737c3e767f810"


def test_a_prior_that_cannot_be_is_told_with_its_line():
    text = SMALL.replace("[0.001, 0.1], log: true", "[0.001, 0.1], log: true, prior: 0.2").replace("  gate:\n", "  gate:\n    prior: tpk\n")
    assert refused(text) == [
        "small.yaml:5 -> sae.training.optimizer.lr.prior: a prior must be a number from 0.001 to 0.1, the hole's own range; got 0.2",
        "small.yaml:8 -> variants.gate.prior: a prior must be one of the hole's own values; got 'tpk'; did you mean 'topk'? "
        "(valid: relu, topk)",
    ]


def test_a_prior_changes_nothing_about_which_specs_are_legal():
    expected = space(**{"[0.001, 0.1], log: true": "[0.001, 0.1], log: true, prior: 0.01", "  gate:\n": "  gate:\n    prior: topk\n"})
    assert [filled.params for filled in expected.corners()] == [filled.params for filled in space().corners()]
