"""Graphs around encoders that are more than a projection: alone, two of them into one gate, and rows lent to a decoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.assembler.agreement import trained_in_both
from tests.blocks.harness import data

WIDTH = 24
RESIDUAL = {"kind": "residual_mlp_encoder", "hidden": 10, "num_blocks": 2}
KRONECKER = {"kind": "kronecker_encoder", "heads": 4, "base": 2}
SWITCH = {"kind": "switch_encoder", "experts": 3}
ENCODERS: dict[str, Any] = {
    "residual MLP": RESIDUAL,
    "gated linear unit": {"kind": "glu_encoder"},
    "Kronecker": KRONECKER,
    "switch": SWITCH,
    "switch, heaviside": {**SWITCH, "route": "heaviside", "bias": True},
}


def chain(encoder: dict[str, Any], **decoder: Any) -> dict[str, Any]:
    """Returns a graph with one encoder."""
    return {"center": "pre_bias", "encoder": encoder, "gate": {"kind": "topk", "k": 3}, "decoder": {"kind": "linear_decoder", **decoder}}


def mixture(opener: dict[str, Any], strength: dict[str, Any]) -> dict[str, Any]:
    """Returns a graph with two encoders into one gated block, the second with a pre-activation of its own."""
    gate = {"kind": "gated", "from": {"gate": "opener", "magnitude": "strength"}}
    return {"center": "pre_bias", "opener": opener, "strength": {**strength, "from": "center"}, "gate": gate, "decoder": "linear_decoder"}


def tied(encoder: dict[str, Any]) -> dict[str, Any]:
    """Returns a graph whose decoder borrows the encoder's rows."""
    return chain(encoder, norm="free", **{"from": {"code": "gate", "dictionary": "encoder.weight"}})


GRAPHS = {
    **{f"{name}, alone": chain(encoder) for name, encoder in ENCODERS.items()},
    "two encoders, switch opens": mixture(SWITCH, RESIDUAL),
    "two encoders, Kronecker opens": mixture(KRONECKER, {"kind": "glu_encoder"}),
    "tied, linear": tied({"kind": "linear_encoder"}),
    "tied, residual MLP": tied(RESIDUAL),
    "tied, switch": tied(SWITCH),
}
each = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS.keys())


def _started(graph: dict[str, Any], lr: float = 0.02) -> Member:
    losses = {"sparsity": {"kind": "l1", "of": "gate.gate_code", "weight": 0.1}} if "opener" in graph else {}
    schedule = {"kind": "warmup_decay", "decay_frac": 0.0}
    training = {"tokens": 32 * 10, "batch": 32, "optimizer": {"kind": "adam", "lr": lr}, "schedule": schedule}
    return start(parse({"width": WIDTH, "graph": graph, "losses": losses, "training": training}), data(), data(), precision="float64")


@each
def test_it_trains_and_both_executors_agree(graph: dict[str, Any]):
    trained_in_both(lambda: [_started(graph, lr) for lr in (0.02, 0.01)])


@each
def test_encoder_rows_start_as_the_dictionary_and_others_start_drawn(graph: dict[str, Any]):
    sae = _started(graph).sae
    for label in sae.graph.nodes:
        block = sae.block(label)
        if "weight" in block.axes and "dictionary" in sae.block("decoder").axes:
            torch.testing.assert_close(block.weight.data, sae.block("decoder").dictionary.data)
        for name, axes in block.axes.items():
            drawn = len(axes) > 1 and name not in block.undrawn
            assert (getattr(block, name).abs().sum() > 0) == drawn, f"{label}.{name}"


@pytest.mark.parametrize("name", [name for name in GRAPHS if name.startswith("tied")])
def test_borrowed_rows_learn_from_both_ends(name: str):
    member = _started(GRAPHS[name])
    train([member], Looped())
    sae = member.sae
    assert not any("dictionary" in held for held in sae.state_dict())
    signals = sae.signals(sae.scale(data()))
    rebuilt = signals["gate.code"] @ sae.block("encoder").weight + sae.block("decoder").bias
    torch.testing.assert_close(signals["decoder.reconstruction"], rebuilt)


def test_routing_is_charged_for_one_expert_and_the_router():
    dense, routed = (_started(chain(encoder)).assembly.receipt.flops for encoder in ({"kind": "linear_encoder"}, SWITCH))
    assert dense - routed == 2 * 6 * (WIDTH - WIDTH // 3 - 3)


def test_a_switch_in_a_nested_graph_adds_its_loss_too():
    nested = {"kind": "sae", "width": 12, "graph": {**chain(SWITCH), "center": "pre_bias"}}
    member = _started({"inner": nested, "rest": {"kind": "subtract", "from": ["x", "inner"]}, **_second()})
    _, terms, _ = member.sae(member.batches.at(0), torch.zeros((), dtype=torch.float64))
    assert "inner/encoder.balance" in terms
    train([member], Looped())
    assert member.failure is None


def _second() -> dict[str, Any]:
    return {
        "outer": {"kind": "sae", "width": 12, "graph": {k: v for k, v in chain(KRONECKER | {"heads": 3}).items() if k != "center"}},
        "output": {"kind": "add", "from": ["inner", "outer"]},
    }
