"""Members side by side train as each would alone, whatever they differ in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.stacked import Stacked
from tests.blocks.harness import base, data


def _member(gate: dict[str, Any], precision: str = "float64", **training: Any) -> Member:
    document = base(**{"tokens": 16 * 24, **training})
    document["graph"]["gate"] = gate
    document["revival"] = {"kind": "anthropic_resampling", "at_frac": [0.5], "window_frac": 0.125}
    if gate["kind"] == "jumprelu":
        document["losses"]["sparsity"] = {"kind": "l0", "weight": 0.2, "warmup_frac": gate["bandwidth"] / 10}
    return start(parse(document), data(), data(), precision=precision)


COHORTS = {
    "topk": [({"kind": "topk", "k": 1}, {}), ({"kind": "topk", "k": 4}, {"optimizer": {"kind": "adam", "lr": 0.1, "beta1": 0.0}})],
    "batch_topk": [({"kind": "batch_topk", "k": 1, "memory": 3}, {"seed": 3}), ({"kind": "batch_topk", "k": 3}, {"clip_norm": 0.1})],
    "jumprelu": [({"kind": "jumprelu", "bandwidth": 0.5}, {"data_seed": 1}), ({"kind": "jumprelu", "bandwidth": 2.0}, {})],
    "schedules": [
        ({"kind": "relu"}, {"schedule": {"kind": "warmup_decay", "warmup_frac": 0.5}}),
        ({"kind": "relu"}, {"schedule": {"kind": "warmup_decay", "decay_frac": 0.0}}),
    ],
}


@pytest.mark.parametrize("cohort", COHORTS.values(), ids=COHORTS.keys())
def test_stacked_equals_looped_equals_alone(cohort: list[tuple[dict[str, Any], dict[str, Any]]]):
    alone, looped, stacked = ([_member(gate, **training) for gate, training in cohort] for _ in range(3))
    assert len({member.assembly.receipt.structure for member in alone}) == 1, "one program for all"
    for member in alone:
        train([member], Looped())
    train(looped, Looped())
    train(stacked, Stacked())
    for one, two, three in zip(alone, looped, stacked):
        assert one.events == two.events == three.events and len(one.events) == 1
        assert [step for step, _ in one.history] == [step for step, _ in three.history]
        assert one.history[-1][1] == pytest.approx(three.history[-1][1], rel=1e-9)
        for name, value in one.sae.state_dict().items():
            assert torch.equal(two.sae.state_dict()[name], value), "bit for bit on one processor"
            torch.testing.assert_close(three.sae.state_dict()[name], value, rtol=1e-9, atol=1e-12)
        for name, moments in one.moments.items():
            for key, value in moments.items():
                torch.testing.assert_close(three.moments[name][key], value, rtol=1e-8, atol=1e-12)


def test_a_member_that_diverges_stops_and_says_so_and_the_others_go_on():
    members = [_member({"kind": "relu"}, clip_norm=None, optimizer={"kind": "adam", "lr": lr}) for lr in (1e200, 0.01)]
    alone = _member({"kind": "relu"}, clip_norm=None, optimizer={"kind": "adam", "lr": 0.01})
    train([alone], Looped())
    train(members, Stacked())
    broken, sound = members
    assert broken.failure is not None and "stopped being finite" in broken.failure and broken.step < broken.total_steps
    assert sound.failure is None and sound.done
    for name, value in alone.sae.state_dict().items():
        torch.testing.assert_close(sound.sae.state_dict()[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("executor", [Looped, Stacked])
def test_sixteen_bit_products_end_near_full_precision(executor: type):
    gate = {"kind": "batch_topk", "k": 3}
    short, full = _member(gate, "bfloat16"), _member(gate, "float32")
    train([short], executor(), until_frac=0.25)
    train([full], executor(), until_frac=0.25)
    assert short.history[-1][1]["reconstruction"] == pytest.approx(full.history[-1][1]["reconstruction"], rel=0.05)
    assert all(value.dtype == torch.float32 for value in short.sae.parameters())


def test_training_stops_between_two_chunks_when_told_and_tells_rows():
    member, rows = _member({"kind": "relu"}), []
    train([member], Looped(), tick=rows.append, stop=lambda: len(rows) >= 2)
    assert len(rows) == 2 and sum(rows) == member.step * 16 < member.total_steps * 16
