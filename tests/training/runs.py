"""Short runs in which much happens, and how two of them are compared."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.blocks.harness import data

STEPS, BATCH = 40, 16

ROWS = data()
"""One and the same for all members, as stacks need it."""


def document(gate: Any, **more: Any) -> dict[str, Any]:
    """Returns a plain spec; what `training` says besides is added to what is there."""
    training = {"tokens": STEPS * BATCH, "batch": BATCH, "optimizer": {"kind": "adam", "lr": 0.01}, **more.pop("training", {})}
    graph = {"center": "pre_bias", "encoder": "linear_encoder", "gate": gate, "decoder": "linear_decoder"}
    return {"width": 24, "graph": graph, "training": training, **more}


REVIVAL = {"kind": "anthropic_resampling", "at_frac": [0.35, 0.7], "window_frac": 0.1}
L0 = {"losses": {"sparsity": {"kind": "l0", "weight": 0.1}}}
COHORTS: dict[str, list[dict[str, Any]]] = {
    "batch_topk, revived": [
        document({"kind": "batch_topk", "k": k, "memory": 3}, revival=REVIVAL, training={"seed": k, "data_seed": k // 3}) for k in (1, 2, 4)
    ],
    "steered, with noise": [document("gated_hard_concrete", **L0, target_l0=k, training={"seed": k}) for k in (3, 5, 8)],
    "steered": [
        document("relu", losses={"sparsity": {"kind": "l1", "weight": 0.3}}, target_l0=k, training={"clip_norm": 0.5 * k})
        for k in (2, 3, 6)
    ],
    "calibrated": [
        document({"kind": "topk", "k": k, "inference": "calibrated"}, calibration={"kind": "remove_lowest", "share": 0.2})
        for k in (2, 3, 5)
    ],
}
"""Specs of one structure each."""

MIXED = [documents[0] for documents in COHORTS.values()]


def begin(plain: dict[str, Any]) -> Member:
    """Returns a member at its first step."""
    return start(parse(plain), ROWS, ROWS, precision="float64")


@cache
def _alone(name: str, index: int) -> Member:
    found = begin(COHORTS[name][index])
    train([found], Looped(cores=1))
    assert found.failure is None and found.done
    return found


def alone(plain: dict[str, Any]) -> Member:
    """Returns a spec's member trained by itself to the end; it is shared, so leave it as it is."""
    return next(_alone(name, index) for name, documents in COHORTS.items() for index, other in enumerate(documents) if other is plain)


def assert_equal(found: Member, expected: Member) -> None:
    """Compares two runs bit for bit."""
    assert found.history == expected.history and found.events == expected.events
    assert (found.step, found.failure, found.remark) == (expected.step, expected.failure, expected.remark)
    for name, value in expected.sae.state_dict().items():
        assert torch.equal(found.sae.state_dict()[name], value), name
    for name, moments in expected.moments.items():
        for key, value in moments.items():
            assert torch.equal(found.moments[name][key], value), name


def assert_close(found: Member, expected: Member) -> None:
    """Compares two runs to rounding in 64 bits."""
    assert (found.step, found.failure) == (expected.step, expected.failure)
    assert [step for step, _ in found.history] == [step for step, _ in expected.history]
    for (_, one), (_, other) in zip(found.history, expected.history):
        assert one == pytest.approx(other, rel=1e-8)
    assert [(step, name) for step, name, _ in found.events] == [(step, name) for step, name, _ in expected.events]
    for (_, _, one), (_, _, other) in zip(found.events, expected.events):
        assert one == pytest.approx(other, rel=1e-8)
    for name, value in expected.sae.state_dict().items():
        torch.testing.assert_close(found.sae.state_dict()[name], value, rtol=1e-8, atol=1e-11)
    for name, moments in expected.moments.items():
        for key, value in moments.items():
            torch.testing.assert_close(found.moments[name][key], value, rtol=1e-7, atol=1e-11)
