from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks._ramps import k_at, ramp, set_k
from archsearch.blocks.gates.topk import TopK
from archsearch.blocks.signals import Given, Sizes
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from archsearch.training.stacked import Stacked
from tests.blocks.harness import base, data


def _at(progress: float, shape: str) -> float:
    return float(ramp(torch.tensor(progress, dtype=torch.float64), 64, 4, 0.5, shape))


@pytest.mark.parametrize(("progress", "linear", "exponential"), [(0.0, 64, 64), (0.25, 34, 16), (0.5, 4, 4), (0.50001, 4, 4), (1.0, 4, 4)])
def test_a_ramp_goes_from_start_to_end_and_stays_there(progress: float, linear: float, exponential: float):
    assert _at(progress, "linear") == pytest.approx(linear)
    assert _at(progress, "exponential") == pytest.approx(exponential)


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_after_the_ramp_the_end_is_exact(shape: str):
    end = torch.tensor(0.1, dtype=torch.float64)
    assert ramp(torch.tensor(0.3, dtype=torch.float64), 7, end, 0.3, shape) == end  # 7 * (0.1 / 7) is not 0.1


def test_a_gate_without_a_ramp_asks_for_nothing_and_holds_nothing_more():
    spec = TopK.Spec(k=2)
    gate = TopK(spec, Sizes(2, 4))
    assert TopK.given(spec) == {} and gate.settings == ["k"] and set(gate.state_dict()) == {"k"}
    assert spec.model_dump(exclude_defaults=True) == {"k": 2}


def test_a_gate_with_a_ramp_keeps_fewer_and_fewer():
    spec = TopK.Spec(k=1, k_start=3, anneal_frac=0.5)
    gate = TopK(spec, Sizes(2, 4))
    assert TopK.given(spec) == {"progress": Given.PROGRESS}
    pre = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    kept = [int((gate(pre, progress=torch.tensor(at))["code"] != 0).sum()) for at in (0.0, 0.25, 0.5, 0.9)]
    assert kept == [3, 2, 1, 1] and int((gate.infer(pre)["code"] != 0).sum()) == 1


def test_the_static_bound_holds_the_larger_end_and_no_more_than_the_latents():
    spec = TopK.Spec(k=2, k_start=5, anneal_frac=0.5)
    for latents, bound in ((4, 4), (8, 5)):
        gate = TopK(TopK.Spec(k=2), Sizes(2, latents))
        set_k(gate, spec, Sizes(2, latents))
        assert gate.k_bound == bound and k_at(gate, None) == 2


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"anneal_frac": 0.5}, "k_start: null"),
        ({"anneal": "exponential"}, "k_start: null"),
        ({"k_start": 64}, "needs anneal_frac"),
    ],
)
def test_ramps_that_cannot_act_are_refused(settings: dict, match: str):
    with pytest.raises(ValidationError, match=match):
        TopK.Spec(k=8, **settings)


def test_a_ramp_that_a_sweep_makes_flat_is_no_ramp():
    flat, plain = (TopK(TopK.Spec(k=2, **more), Sizes(2, 4)) for more in ({"k_start": 2, "anneal_frac": 0.5}, {}))
    pre = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for at in (0.0, 0.3, 0.9):
        assert torch.equal(flat(pre, progress=torch.tensor(at))["code"], plain(pre)["code"])


GATES = ["topk", "batch_topk", "abs_topk", "feature_choice"]
RAMPS = [
    {"k": 2, "k_start": 9, "anneal_frac": 0.5},
    {"k": 1, "k_start": 4, "anneal_frac": 1.0},
    {"k": 5, "k_start": 3, "anneal_frac": 0.25},
]


def _document(kind: str, **settings) -> dict:
    document = base()
    document["graph"]["gate"] = {"kind": kind, **settings}
    return document


@pytest.mark.parametrize("shape", ["linear", "exponential"])
@pytest.mark.parametrize("kind", GATES)
def test_members_with_ramps_of_their_own_train_alike_in_both_executors(kind: str, shape: str):
    specs = [parse(_document(kind, anneal=shape, **ramp)) for ramp in RAMPS]
    alone, stacked = ([start(spec, data(), data(), precision="float64") for spec in specs] for _ in range(2))
    assert len({member.assembly.receipt.structure for member in stacked}) == 1
    train(alone, Looped())
    train(stacked, Stacked())
    for one, other in zip(alone, stacked):
        for name, value in one.sae.state_dict().items():
            torch.testing.assert_close(other.sae.state_dict()[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", GATES)
def test_a_gate_with_a_ramp_is_another_program_than_one_without(kind: str):
    with_ramp, without = (assemble(parse(_document(kind, **settings)), model=6) for settings in (RAMPS[0], {"k": 2}))
    assert with_ramp.receipt.structure != without.receipt.structure
