"""What is known of a study, as plain data: what the ledger reads out and reports are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STATES = ("running", "complete", "stopped", "failed")
"""States of a trial; a complete one outside the band is kept but never on the front, a stopped one fell behind on the ladder."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial: one SAE, trained and measured.

    `ask` and `level`: which structure it belongs to and which of its sparsity levels it is; `baseline`: name of the recipe it tunes;
    `measurements`: metrics by name (`l0`, `fvu`, `dead_frac`, `ce_recovered`, ...) and costs (`parameters`, `flops`, `seconds`);
    `words`: the spec in a few words; `message`: why it failed, or what to know of how it ended; `copied_from`: number of the trial with the
    same run hash.
    """

    number: int
    ask: int
    level: int
    state: str
    spec: dict[str, Any]
    params: dict[str, Any]
    words: str
    arch: str
    run: str
    baseline: str | None = None
    measurements: dict[str, float] = field(default_factory=dict)
    message: str = ""
    copied_from: int | None = None
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)


@dataclass(frozen=True)
class Climbed:
    """How far trials got on the ladder: `rungs`, measurements by trial and share of the run; `audited`: trials finished though behind."""

    rungs: dict[int, dict[float, dict[str, float]]] = field(default_factory=dict)
    audited: frozenset[int] = frozenset()


class Place(NamedTuple):
    """Where a trial stands in its study, without its spec and its numbers."""

    number: int
    ask: int
    level: int
    state: str
    told: bool
    run: str
    baseline: str | None
    optuna_number: int | None
    copied_from: int | None


@dataclass(frozen=True)
class StudyRecord:
    """One study.

    `objectives` are minimised as they stand (`l0` as log2); `band`: effective L0 a front member must lie in; `stopped`: why it ended, empty
    while it has not; `climbed`: what the ladder measured; `refused`: a sentence for each branch that never gave a legal SAE;
    `provenance`: activations, versions, machine; `command`: how to repeat it; `seconds`: wall clock so far.
    """

    name: str
    question: str
    space: dict[str, Any]
    objectives: tuple[str, ...]
    band: tuple[float, float]
    trials: list[TrialRecord]
    planned: int
    stopped: str = ""
    command: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    climbed: Climbed = field(default_factory=Climbed)
    refused: tuple[str, ...] = ()


def feasible(trial: TrialRecord, band: tuple[float, float], objectives: tuple[str, ...] = ("l0", "fvu")) -> bool:
    """Tells whether a trial may stand on the front: complete, every objective and metric finite, effective L0 inside the band."""
    found = trial.measurements
    finite = all(math.isfinite(found.get(name, math.nan)) for name in ("l0", "fvu", *objectives))
    return trial.state == "complete" and finite and band[0] <= found["l0"] <= band[1]


def front(trials: list[TrialRecord], band: tuple[float, float], objectives: tuple[str, ...] = ("l0", "fvu")) -> list[TrialRecord]:
    """Returns the feasible trials no other one dominates (all `objectives` lower is better), by rising first objective.

    Of trials with equal values the first told stands for all.
    """
    found = sorted((t for t in trials if feasible(t, band, objectives)), key=lambda t: (*values(t, objectives), t.number))
    kept: list[TrialRecord] = []
    for trial in found:
        mine = values(trial, objectives)
        if not any(all(a <= b for a, b in zip(values(other, objectives), mine, strict=True)) for other in kept):
            kept.append(trial)
    return kept


def values(trial: TrialRecord, objectives: tuple[str, ...]) -> tuple[float, ...]:
    """Returns a trial's objectives, each so that lower is better."""
    return tuple(-trial.measurements[name] if name in HIGHER else trial.measurements[name] for name in objectives)


HIGHER = frozenset({"ce_recovered"})
"""Measurements of which more is better."""


@dataclass(frozen=True)
class Status:
    """Where a running study stands, for whoever watches it.

    `done` and `planned` count trials; `tokens_per_second` over the last cohort; `left_seconds`: estimate of what remains; `doing`: the
    current step in a few words; `step_frac`: how far that step is (0 to 1).
    """

    doing: str
    done: int
    planned: int
    step_frac: float = 0.0
    tokens_per_second: float = 0.0
    left_seconds: float | None = None
    front: tuple[TrialRecord, ...] = ()
