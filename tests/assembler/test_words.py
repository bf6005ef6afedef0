"""Specs in words."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.assembler.parse import parse
from archsearch.assembler.words import family, in_words
from archsearch.blocks.catalogue import catalogue
from archsearch.recipes import names, recipe
from tests.reporting.conftest import spec_of

STAGES: dict[str, Any] = {
    "coarse": {
        "kind": "sae",
        "width": 256,
        "graph": {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 8}, "decoder": "linear_decoder"},
    },
    "rest": {"kind": "subtract", "from": ["x", "coarse.reconstruction"]},
    "fine": {
        "kind": "sae",
        "width": 768,
        "graph": {"encoder": "linear_encoder", "gate": {"kind": "batch_topk", "k": 24}, "decoder": "linear_decoder"},
    },
    "output": {"kind": "add", "from": ["coarse.reconstruction", "fine.reconstruction"]},
}


def test_a_spec_is_its_gate_its_losses_and_what_is_not_the_default() -> None:
    spec = spec_of({"kind": "gated", "training": "straight_through"})
    spec["losses"] = {"sparsity": {"kind": "l1", "of": "gate.gate_code", "weight": 7.2}}
    assert in_words(spec) == "gated (straight_through), l1 7.2, lr 0.0012, width 512, pre_bias"


def test_the_setting_that_moves_sparsity_is_said_even_at_its_default() -> None:
    assert (
        in_words({"width": 64, "graph": {"encoder": "linear_encoder", "gate": "topk", "decoder": "linear_decoder"}})
        == "topk (k 32), width 64"
    )


def test_a_changed_setting_of_an_ordinary_block_is_said() -> None:
    graph = {"encoder": {"kind": "linear_encoder", "bias": False}, "gate": "relu", "decoder": {"kind": "linear_decoder", "norm": "free"}}
    assert in_words({"width": 8, "graph": graph}) == "relu, linear_encoder (no bias), linear_decoder (free), width 8"


def test_nested_graphs_are_said_inside() -> None:
    spec = {"width": 1024, "graph": STAGES}
    assert in_words(spec) == "sae 256 [topk (k 8)] + sae 768 [batch_topk (k 24)], width 1024"
    assert family(spec) == "topk + batch_topk"


def test_repeats_are_said_once() -> None:
    graph = {"a": "mlp_encoder", "b": "mlp_encoder", "gate": "relu", "decoder": "linear_decoder"}
    assert in_words({"width": 8, "graph": graph}) == "relu, 2 x mlp_encoder, width 8"


def test_a_family_leaves_numbers_out_and_keeps_words() -> None:
    assert family(spec_of({"kind": "gated", "training": "straight_through", "bandwidth": 0.3})) == "gated (straight_through)"
    assert family(spec_of({"kind": "topk", "k": 8})) == family(spec_of({"kind": "topk", "k": 9})) == "topk"


def test_short_and_resolved_specs_are_said_alike() -> None:
    for document in (spec_of({"kind": "gated"}), {"width": 1024, "graph": STAGES}):
        assert in_words(parse(document).model_dump(mode="json", by_alias=True)) == in_words(document)


@pytest.mark.parametrize("name", names())
def test_every_recipe_has_words_that_name_its_gate(name: str) -> None:
    spec = parse(_filled(recipe(name))).model_dump(mode="json", by_alias=True)
    gates = [block["kind"] for block in spec["graph"].values() if catalogue().blocks[block["kind"]].slot == "gate"]
    assert all(gate in in_words(spec) for gate in gates)


def _filled(node: Any) -> Any:
    """Returns a recipe with any hole at its low end."""
    if isinstance(node, dict):
        hole = next((node[word] for word in ("float", "int", "choice") if word in node), None)
        return hole[0] if hole is not None else {key: _filled(value) for key, value in node.items()}
    return [_filled(value) for value in node] if isinstance(node, list) else node


def test_a_kind_of_another_version_is_said_with_all_its_settings() -> None:
    graph = {"encoder": "linear_encoder", "gate": {"kind": "from_the_future", "power": 3}, "decoder": "linear_decoder"}
    assert in_words({"width": 8, "graph": graph}) == "from_the_future (power 3), width 8"
