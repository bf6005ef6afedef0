"""A whole run: the controller, its checks, calibration and noise, in both executors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.evaluation.metrics import evaluate
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.noise import noise_of
from archsearch.training.stacked import Stacked
from tests.blocks.harness import data, same

GRAPH = {"encoder": "linear_encoder", "gate": "relu", "decoder": "linear_decoder"}


def sae(steps: int = 800, **more: Any) -> dict[str, Any]:
    training = {"tokens": steps * 32, "batch": 32, "optimizer": {"kind": "adam", "lr": 0.01}}
    return {"width": 24, "graph": GRAPH, "losses": {"sparsity": {"kind": "l1", "weight": 0.3}}, "training": training, **more}


def member(document: dict[str, Any]) -> Member:
    return start(parse(document), data(), data(), precision="float64")


@pytest.mark.parametrize("wanted", [2, 3, 6])
def test_a_requested_l0_is_reached_at_inference(wanted: float):
    found = member(sae(target_l0=wanted))
    train([found], Looped())
    assert evaluate(found.sae, data()).l0 == pytest.approx(wanted, rel=0.1)
    assert found.remark == ""
    assert [step for step, name, _ in found.events if name == "l0_controller"] == [400, 600, 720, 800]


def test_what_is_not_reached_is_remarked_with_the_l0_it_got():
    found = member(sae(target_l0=23.5))
    train([found], Looped())
    l0 = evaluate(found.sae, data()).l0
    assert found.remark.startswith(f"asked for L0 23.5, it ends at {l0:.1f}: the penalty stands at ")


def test_a_soft_gate_is_counted_as_at_inference():
    graph = {**GRAPH, "gate": {"kind": "gated_sigmoid", "anneal_frac": 1.0, "hard_frac": 0.0}}
    found = member(sae(graph=graph, losses={"sparsity": {"kind": "l0", "weight": 0.1}}, target_l0=3))
    train([found], Looped(), until_frac=0.05)
    rows = data()
    with torch.no_grad():
        signals, _ = found.sae._run(found.sae.scale(rows), found.sae._graph_calls, False, {"progress": torch.tensor(0.05)})
    assert (signals["gate.code"] != 0).sum(-1).double().mean() > 1.3 * evaluate(found.sae, rows).l0
    assert float(found.sae.controller.mean) < 1.2 * evaluate(found.sae, rows).l0


NOISY = {"gate": {"kind": "gated_hard_concrete"}}


@pytest.mark.parametrize("gate", ["gated_hard_concrete", "gated_gumbel", "gated_sigmoid", "relu"])
def test_noise_and_steering_are_the_same_stacked_as_alone(gate: str):
    loss = {"kind": "l1" if gate == "relu" else "l0", "weight": 0.1}
    documents = [sae(40, graph={**GRAPH, "gate": gate}, losses={"sparsity": loss}, target_l0=l0) for l0 in (2, 4)]
    documents[1]["training"] = {**documents[1]["training"], "seed": 5}
    alone, together = [member(d) for d in documents], [member(d) for d in documents]
    for one in alone:
        train([one], Looped())
    train(together, Stacked())
    for one, other in zip(alone, together):
        for name, value in one.sae.state_dict().items():
            same(other.sae.state_dict()[name], value, rtol=1e-9, atol=1e-12)


def test_noise_depends_on_seed_step_and_place_alone():
    sae_of = member(sae(graph={**GRAPH, "gate": "gated_gumbel"}, losses={"sparsity": "l0"})).sae
    numbers = {"dtype": torch.float32, "device": torch.device("cpu")}
    first = noise_of(sae_of, 3, 7, 32, **numbers)
    assert {name: value.shape for name, value in first.items()} == {"gate.uniform": (32, 24)}
    assert torch.equal(first["gate.uniform"], noise_of(sae_of, 3, 7, 32, **numbers)["gate.uniform"])
    for seed, step in ((4, 7), (3, 8)):
        assert not torch.equal(first["gate.uniform"], noise_of(sae_of, seed, step, 32, **numbers)["gate.uniform"])


def test_a_run_that_goes_on_from_a_checkpoint_is_steered_alike(tmp_path):
    whole, begun, resumed = (member(sae(100, target_l0=3)) for _ in range(3))
    train([whole], Looped())
    train([begun], Looped(), until_frac=0.8)
    save_member(begun, tmp_path / "member.safetensors", "run")
    assert load_member(resumed, tmp_path / "member.safetensors", "run")
    train([resumed], Looped())
    for name, value in whole.sae.state_dict().items():
        assert torch.equal(resumed.sae.state_dict()[name], value), name
    assert resumed.remark == whole.remark and resumed.events == whole.events


def test_calibration_happens_once_at_the_end():
    graph = {**GRAPH, "gate": {"kind": "batch_topk", "k": 3, "inference": "calibrated"}}
    document = sae(100, graph=graph)
    document.pop("losses")
    found = member(document)
    train([found], Looped(), until_frac=0.9)
    before = float(found.sae.block("gate").threshold)
    train([found], Looped())
    assert float(found.sae.block("gate").threshold) != before
    assert evaluate(found.sae, data()).l0 == pytest.approx(3, abs=0.01)
