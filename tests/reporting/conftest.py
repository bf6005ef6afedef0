"""An invented study with everything in it: baselines, three families, trials outside the band, failures, a NaN."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from archsearch.search.records import StudyRecord, TrialRecord

GATES: dict[str, dict[str, Any]] = {
    "relu": {"gate": {"kind": "topk", "k": 16}, "fvu": 0.95},
    "frozen": {"gate": {"kind": "gated", "training": "frozen_decoder"}, "fvu": 0.62},
    "straight": {"gate": {"kind": "gated", "training": "straight_through"}, "fvu": 0.60},
    "batch": {"gate": {"kind": "batch_topk", "k": 16}, "fvu": 0.52},
}


def spec_of(gate: dict[str, Any], lr: float = 0.0012) -> dict[str, Any]:
    """Returns a whole spec around a gate."""
    graph = {"center": "pre_bias", "encoder": "linear_encoder", "gate": gate, "decoder": "linear_decoder"}
    return {"width": 512, "graph": graph, "training": {"tokens": 256000, "batch": 256, "optimizer": {"kind": "adam", "lr": lr}}}


def trial(number: int, l0: float, fvu: float, **changes: Any) -> TrialRecord:
    """Returns a finished trial with these measurements."""
    settings: dict[str, Any] = {
        "ask": number // 4,
        "level": number % 4,
        "state": "complete",
        "spec": spec_of({"kind": "topk", "k": 16}),
        "params": {},
        "words": f"topk (k {l0:.0f}), width 512",
        "arch": f"a{number}",
        "run": f"r{number}",
        "measurements": {"l0": l0, "fvu": fvu, "dead_frac": 0.01 * number % 1, "ce_recovered": 1 - fvu},
    }
    return TrialRecord(number=number, **{**settings, **changes})


def study(trials: list[TrialRecord], **changes: Any) -> StudyRecord:
    """Returns a finished study of these trials."""
    settings: dict[str, Any] = {
        "name": "gated",
        "question": "Which gate, and which way of training it, gives the best front?",
        "space": {"name": "gated"},
        "objectives": ("l0", "fvu"),
        "band": (4.0, 64.0),
        "planned": len(trials),
        "stopped": "all trials done",
        "command": "archsearch study --space spaces/gated.yaml",
        "provenance": {"machine": "2 CPU cores", "versions": {"torch": "2.13.0"}},
        "seconds": 201.4,
    }
    return StudyRecord(trials=trials, **{**settings, **changes})


@pytest.fixture
def busy() -> StudyRecord:
    """A study such as the default one: two baselines and some sixty trials."""
    chance = random.Random(0)
    trials: list[TrialRecord] = []

    def add(gate: dict[str, Any], l0: float, height: float, baseline: str | None = None, words: str = "") -> None:
        fvu = height * l0**-0.52 * chance.uniform(1.0, 1.03 if baseline else 1.5)
        ce = 1 - fvu * 0.6
        found = {"l0": l0, "fvu": fvu, "dead_frac": chance.uniform(0, 0.4), "ce_recovered": ce, "seconds": 5.0}
        made = spec_of(gate, lr := chance.uniform(3e-4, 3e-3))
        said = f"{words}, lr {lr:.3g}, width 512, pre_bias"
        trials.append(trial(len(trials), l0, fvu, spec=made, words=said, baseline=baseline, measurements=found))

    for l0 in (3.5, 8, 16, 32, 70):
        add(GATES["relu"]["gate"], l0, 0.60, "topk", f"topk (k {l0:.0f})")
    for l0 in (6, 14, 25, 55):
        add(GATES["frozen"]["gate"], l0, 0.98, "relu_l1", "relu, l1 4.2")
    for _ in range(60):
        name = chance.choice(sorted(GATES))
        add(GATES[name]["gate"], 2 ** chance.uniform(1, 7.5), GATES[name]["fvu"], None, f"{name} of the search (some setting 3)")
    trials.append(trial(len(trials), 20, math.nan))
    trials.append(trial(len(trials), 20, 0.1, state="failed", measurements={}, message="diverged"))
    return study(trials, planned=80)
