from __future__ import annotations

import torch

from archsearch.assembler.parse import parse
from archsearch.training.member import start
from archsearch.training.view import view
from tests.blocks.harness import base, data


def _view(graph: dict, names: tuple[str, ...] = ("x",), **more):
    document = {**base(), "graph": graph, "losses": {}, "inputs": list(names), **more}
    return view(start(parse(document), data(names), data(names), precision="float64"))


def test_everything_that_belongs_to_a_latent_is_shown_with_its_role():
    seen = _view({"center": "pre_bias", "encoder": "linear_encoder", "gate": "jumprelu", "decoder": "linear_decoder"})
    (dictionary,) = seen.dictionaries
    roles = {parameter.label.split("blocks.")[1]: (parameter.role, parameter.fill) for parameter in dictionary.own}
    assert roles == {
        "encoder.weight": ("weight", 0.0),
        "encoder.bias": ("", 0.0),
        "gate.theta": ("", 0.1),
        "decoder.dictionary": ("dictionary", 0.0),
    }
    assert all(parameter.source == "center.x" for parameter in dictionary.own if parameter.role)
    assert dictionary.unit_norm and seen.free == {} and seen.run_rows == 128


def test_hidden_matrices_are_free_and_those_that_start_as_zero_are_not_drawn():
    seen = _view(
        {
            "encoder": {"kind": "mlp_encoder", "hidden": 7},
            "gate": "relu",
            "decoder": "linear_decoder",
            "skip": {"kind": "linear_map", "bottleneck": 2, "from": "x"},
            "output": {"kind": "add", "from": ["decoder", "skip"]},
        }
    )
    assert sorted(seen.free) == ["blocks.encoder.inner_weight", "blocks.skip.down"]


def test_directions_come_from_the_hook_point_a_decoder_rebuilds():
    seen = _view(
        {
            "center_a": {"kind": "pre_bias", "shared": False, "from": "a"},
            "one": "linear_encoder",
            "two": {"kind": "linear_encoder", "from": "b"},
            "sum": {"kind": "add", "from": ["one", "two"]},
            "gate": "relu",
            "to_a": "linear_decoder",
            "to_b": {"kind": "linear_decoder", "from": "gate"},
        },
        ("a", "b"),
        outputs={"a": "to_a", "b": "to_b"},
        losses={
            "reconstruction": {"kind": "squared_error", "from": {"reconstruction": "to_a", "target": "a"}},
            "other": {"kind": "squared_error", "from": {"reconstruction": "to_b", "target": "b"}},
        },
    )
    sources = {parameter.label: parameter.source for parameter in seen.dictionaries[0].own if parameter.role}
    assert sources == {
        "blocks.one.weight": "center_a.x",
        "blocks.two.weight": "b",
        "blocks.to_a.dictionary": "center_a.x",
        "blocks.to_b.dictionary": "b",
    }
    assert [target for target, _ in seen.biases] == ["a", "b"]


def test_row_losses_are_squared_errors_in_scaled_units():
    member = start(parse(base()), data(), data(), precision="float64")
    rows = member.sae.scale(data())
    rebuilt = member.sae.outputs(member.sae.signals(rows))["x"]
    torch.testing.assert_close(view(member).row_loss(rows), (rows["x"] - rebuilt).square().sum(-1))
