"""What one step computes and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.blocks.harness import base, data


def _member(**changes: Any) -> Member:
    return start(parse({**base(), **changes}), data(), data(), precision="float64")


def _terms(member: Member, progress: float) -> dict[str, float]:
    loss, terms, _ = member.sae(member.batches.at(0), torch.tensor(progress, dtype=torch.float64))
    assert float(loss.detach()) == pytest.approx(sum(float(value.detach()) for value in terms.values()))
    return {name: float(value.detach()) for name, value in terms.items()}


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.9, 1.0)])
def test_a_coefficient_rises_linearly_over_its_warm_up(progress: float, share: float):
    plain = _terms(_member(losses={"sparsity": {"kind": "l1", "weight": 1.0}}), progress)
    risen = _terms(_member(losses={"sparsity": {"kind": "l1", "weight": 3.0, "warmup_frac": 0.2}}), progress)
    assert risen["sparsity"] == pytest.approx(3 * share * plain["sparsity"])
    assert risen["reconstruction"] == plain["reconstruction"]


def test_a_gates_own_loss_is_a_term():
    graph = {**base()["graph"], "gate": "gated"}
    terms = _terms(_member(graph=graph, losses={"sparsity": {"kind": "l1", "of": "gate.gate_code"}}), 0.5)
    assert set(terms) == {"sparsity", "reconstruction", "gate.auxiliary"} and terms["gate.auxiliary"] > 0


def test_a_step_returns_new_state_and_writes_none():
    member = _member(graph={**base()["graph"], "gate": {"kind": "batch_topk", "k": 2}})
    before = {name: value.clone() for name, value in member.sae.state_dict().items()}
    _, _, state = member.sae(member.batches.at(0), torch.tensor(0.5, dtype=torch.float64))
    assert set(state) == {"blocks.gate.threshold", "blocks.gate.seen", "idle.gate.rows"}
    assert all(torch.equal(value, before[name]) for name, value in member.sae.state_dict().items())


def test_rows_since_a_latent_fired_are_counted():
    member = _member(graph={**base()["graph"], "gate": {"kind": "topk", "k": 1}}, losses={})
    expected = torch.zeros(12, dtype=torch.float64)
    for step in range(6):
        code = member.sae.encode(member.batches.at(step))
        expected = torch.where((code != 0).any(0), 0.0, expected + 16)
        train([member], Looped(), until_frac=(step + 1) / 8)
        torch.testing.assert_close(member.sae.idle_of("gate"), expected)
    assert (expected >= 32).any() and (expected == 0).any()


def test_inputs_are_scaled_on_the_way_in():
    first, second = _member(), start(parse(base()), {"x": 50 * data()["x"]}, {"x": 50 * data()["x"]}, precision="float64")
    assert _terms(first, 0.5) == pytest.approx(_terms(second, 0.5), rel=1e-6)
