"""Variants set several paths together; what two of them would both decide is refused."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.errors import InvalidInput
from archsearch.spec.holes import ChoiceHole
from archsearch.spec.template import Template

SAE = {"width": 8, "graph": {"encoder": "linear_encoder", "gate": "relu", "decoder": "linear_decoder"}}


def document(branch: Any, sae: Any = SAE) -> Any:
    return Template.read(sae, {"v": {"oneof": {"only": branch}}}).refill({"v": "only"}).document


def refused(variants: Any, sae: Any = SAE) -> str:
    with pytest.raises(InvalidInput) as caught:
        Template.read(sae, variants)
    return str(caught.value)


def test_a_value_replaces_what_stood_there():
    assert document({"graph.gate": {"kind": "topk", "k": 3}})["graph"]["gate"] == {"kind": "topk", "k": 3}
    assert document({"graph": {"gate": "topk"}})["graph"] == {"gate": "topk"}


def test_mappings_on_the_way_are_made():
    assert document({"losses.sparsity": "l1", "losses.other": "lp"})["losses"] == {"sparsity": "l1", "other": "lp"}
    assert document({"training.optimizer.lr": 1})["training"] == {"optimizer": {"lr": 1}}


def test_two_groups_may_fill_one_mapping_made_on_the_way():
    variants = {"a": {"oneof": {"x": {"losses.one": "l1"}}}, "b": {"oneof": {"y": {"losses.two": "lp"}}}}
    filled = Template.read(SAE, variants).refill({"a": "x", "b": "y"})
    assert filled.document["losses"] == {"one": "l1", "two": "lp"}


def test_a_block_written_short_is_written_out():
    assert document({"graph.encoder.bias": False})["graph"]["encoder"] == {"kind": "linear_encoder", "bias": False}


def test_null_takes_out_an_entry_of_graph_or_losses_and_is_a_value_elsewhere():
    sae = SAE | {"losses": {"sparsity": "l1"}, "training": {"clip_norm": 1.0}}
    found = document({"graph.encoder": None, "losses.sparsity": None, "training.clip_norm": None}, sae)
    assert list(found["graph"]) == ["gate", "decoder"] and found["losses"] == {} and found["training"] == {"clip_norm": None}


def test_the_file_is_not_changed_and_labels_keep_their_order():
    found = document({"graph.gate": "topk", "graph.last": "add"})
    assert list(found["graph"]) == ["encoder", "gate", "decoder", "last"]
    assert SAE["graph"]["gate"] == "relu"


def test_a_branch_may_change_nothing():
    assert document(None) == SAE and document({}) == SAE


def test_two_groups_that_touch_one_path_are_refused_naming_both():
    variants = {
        "gate": {"oneof": {"relu": {"losses.sparsity": "l1"}, "topk": {"graph.gate": "topk"}}},
        "loss": {"oneof": {"heavy": {"losses.sparsity.weight": 3}}},
    }
    assert refused(variants) == (
        "variants.loss.oneof.heavy.losses.sparsity.weight: the variants 'loss' (branch 'heavy') and 'gate' (branch 'relu') touch one "
        "path: losses.sparsity.weight and losses.sparsity; put both into one group, or split what they set"
    )


def test_a_branch_that_sets_a_path_twice_is_refused():
    branch = {"losses.sparsity": "l1", "losses.sparsity.weight": 2}
    assert "branch 'one' of 'v' sets both losses.sparsity and losses.sparsity.weight" in refused({"v": {"oneof": {"one": branch}}})


def test_a_path_through_a_hole_or_a_number_is_refused():
    holed = SAE | {"graph": {"gate": {"oneof": {"a": "topk"}}}}
    assert "graph.gate.k goes through sae.graph.gate, which is a hole" in refused({"v": {"oneof": {"b": {"graph.gate.k": 3}}}}, holed)
    assert "width.more goes through sae.width, which is 8, not a mapping" in refused({"v": {"oneof": {"b": {"width.more": 3}}}})


def test_a_patch_may_not_replace_a_structure_hole():
    holed = SAE | {"graph": {"gate": {"oneof": {"a": "topk"}}}}
    assert "would replace the hole at sae.graph.gate" in refused({"v": {"oneof": {"b": {"graph.gate": "relu"}}}}, holed)
    assert "would replace the hole at sae.graph.gate" in refused({"v": {"oneof": {"b": {"graph": {"gate": "relu"}}}}}, holed)


def test_a_hole_every_branch_replaces_is_refused():
    holed = SAE | {"graph": {"gate": {"kind": "topk", "k": {"int": [1, 4]}}}}
    assert "sae.graph.gate.k: this hole can never act" in refused({"v": {"oneof": {"b": {"graph.gate": "relu"}}}}, holed)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ([], "variants: must map names of groups"),
        ({"v": {"choice": [1]}}, "variants.v: must be `{oneof: {branch: {path: value}}}`"),
        ({"v": {"oneof": {}}}, "variants.v: must be `{oneof: {branch: {path: value}}}`"),
        ({"v": {"prior": "a"}}, "variants.v: must be `{oneof: {branch: {path: value}}}`"),
        ({"v": {"oneof": {"a": {}}, "prior": "b"}}, "variants.v.prior: a prior must be one of the hole's own values; got 'b'; valid: a"),
        ({"v": {"oneof": {"a": "topk"}}}, "variants.v.oneof.a: a branch must map paths of the SAE to values"),
        ({"v": {"oneof": {"a": {"graph..gate": 1}}}}, "must be a path such as `graph.gate.k`; got 'graph..gate'"),
        ({"v": {"oneof": {"a": {"width": {"int": [4, 2]}}}}}, "variants.v.oneof.a.width.int: the lowest value comes first"),
        (
            {"v": {"oneof": {"a": {"sae.width": 3}}}},
            "variants.v.oneof.a.sae.width: paths start below `sae`: write `width`; got 'sae.width'",
        ),
        ({"a.b": {"oneof": {"a": {}}}}, "the name of a variants group may hold letters"),
    ],
)
def test_variants_of_another_shape_are_refused(variants: Any, said: str):
    assert said in refused(variants)


def test_a_group_says_which_branch_is_expected_to_be_good():
    template = Template.read(SAE, {"v": {"oneof": {"one": {}, "two": {"width": 8}}, "prior": "two"}})
    assert template.parameters()["v"].hole == ChoiceHole(("one", "two"), ("two",))
