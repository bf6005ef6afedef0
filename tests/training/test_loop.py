"""What the training loop notices of a member that diverges in a step no loss comes after."""

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

WILD = {"optimizer": {"kind": "adam", "lr": 1e200}, "clip_norm": None}
FLAT = {"schedule": {"kind": "warmup_decay", "decay_frac": 0.0}}


def member(steps: int, gate: Any = "relu", **training: Any) -> Member:
    document = base(**{"tokens": 16 * steps, **training})
    document["graph"]["gate"] = gate
    return start(parse(document), data(), data(), precision="float64")


@pytest.mark.parametrize("executor", [Looped, Stacked])
def test_a_last_step_that_breaks_the_sae_is_a_failure_in_words(executor: type):
    wild, tame = member(1, **WILD, **FLAT), member(1, **FLAT)
    train([wild, tame], executor())
    assert all(torch.tensor(list(terms.values())).isfinite().all() for _, terms in wild.history)
    assert wild.failure == "the SAE stopped being finite by step 1 (gate.code, decoder.reconstruction); a lower learning rate may hold"
    assert tame.failure is None and tame.done


@pytest.mark.parametrize("executor", [Looped, Stacked])
def test_parameters_that_are_not_finite_are_named(executor: type):
    found = member(1, **FLAT)
    found.assembly.optimizer.lr.fill_(torch.inf)
    for name, value in found.parameters().items():
        value.requires_grad_(name == "blocks.encoder.weight")
    train([found], executor())
    assert found.failure == "the SAE stopped being finite by step 1 (encoder.weight); a lower learning rate may hold"


def test_the_last_step_of_a_part_of_a_run_counts_too():
    found = member(20, **WILD)
    train([found], Looped(), until_frac=0.05)
    assert found.step == 1 and found.failure is not None and "the SAE stopped" in found.failure
