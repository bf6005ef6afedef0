"""What is known of a study, as plain data: what the ledger reads out and reports are made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

from archsearch.spec.space import MET

APART = 1.05
"""How far above a point an SAE must lie in L0 (factor): what is closer is hardly another, on the front or to be cut."""

STATES = ("running", "complete", "stopped", "failed")
"""States of a trial; a complete one outside the band is kept but never on the front, a stopped one fell behind on the ladder."""


@dataclass(frozen=True)
class Point:
    """A trial's SAE cut to a lower L0 after its training, and measured there.

    `l0`: the effective L0 asked for; `spec`: what trains to the same SAE, the trial's with a calibration; `run`: its run hash.
    """

    l0: float
    spec: dict[str, Any]
    run: str
    measurements: dict[str, float]


@dataclass(frozen=True)
class TrialRecord:
    """One trial: one SAE, trained and measured.

    `ask` and `level`: which structure it belongs to and which of its sparsity levels it is; `baseline`: name of the recipe it tunes;
    `measurements`: metrics by name (`l0`, `fvu`, `dead_frac`, `ce_recovered`, ...) and costs (`parameters`, `flops`, `seconds`);
    `words`: the spec in a few words; `message`: why it failed, or what to know of how it ended; `copied_from`: number of the trial with the
    same run hash; `points`: its SAE cut to lower L0s; `cut_to`: where this is one of those points, as a record of its own: the L0 asked
    for.
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
    points: tuple[Point, ...] = ()
    cut_to: float | None = None

    @property
    def label(self) -> str:
        """Its number, and for a point the L0 it is cut to."""
        return str(self.number) if self.cut_to is None else f"{self.number} cut to L0 {self.cut_to:g}"


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


def standing(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Returns trials and all that may stand on a front with them: behind each its points, as records of its number with `cut_to` set."""
    found: list[TrialRecord] = []
    for trial in trials:
        cut = {"points": (), "history": [], "message": ""}
        found.append(trial)
        found += [replace(trial, spec=p.spec, run=p.run, measurements=p.measurements, cut_to=p.l0, **cut) for p in trial.points]
    return found


def whole_front(trials: Iterable[TrialRecord], band: tuple[float, float], objectives: tuple[str, ...] = ("l0", "fvu")) -> list[TrialRecord]:
    """Returns the front of trials and their points together (`standing`): `number` says whose each member is, `cut_to` which point.

    A point is left out, too, where one cut to the same L0 does better, or any SAE less than `APART` above it: which of them ends a hair
    below the others on held-out rows is chance.
    """
    if "l0" not in objectives:
        return front(standing(trials), band, objectives)
    others = tuple(name for name in objectives if name != "l0")
    rows = [(values(one, others), one.measurements["l0"], one) for one in standing(trials) if feasible(one, band, objectives)]
    rows.sort(key=lambda row: (*row[:2], row[2].cut_to is not None, row[2].number))  # who does better comes before
    kept: list[tuple[tuple[float, ...], float, TrialRecord]] = []
    asked: dict[float, list[tuple[float, ...]]] = {}
    for mine, l0, one in rows:
        alike = [] if one.cut_to is None else asked.setdefault(one.cut_to, [])
        reach = l0 if one.cut_to is None else l0 * APART
        rivals = chain(alike, (theirs for theirs, other, _ in kept if other <= reach))
        if not any(all(a <= b for a, b in zip(theirs, mine, strict=True)) for theirs in rivals):
            kept.append((mine, l0, one))
        alike.append(mine)
    return sorted((one for *_, one in kept), key=lambda t: (*values(t, objectives), t.number))


def values(trial: TrialRecord, objectives: tuple[str, ...]) -> tuple[float, ...]:
    """Returns a trial's objectives, each so that lower is better."""
    return tuple(-trial.measurements[name] if name in HIGHER else trial.measurements[name] for name in objectives)


def as_asked(l0: float, levels: Sequence[float]) -> float:
    """Returns the L0 of `levels` that `l0` is within a tenth of, else `l0` itself.

    SAEs asked for the same L0 end a little apart. Taken as it is, the lower one stands on the front however bad it is, and a search that
    learns from fronts goes after gates that undershoot.
    """
    nearest = min(levels, key=lambda level: abs(math.log(level / l0)), default=l0) if l0 > 0 else l0
    return nearest if abs(l0 - nearest) <= MET * nearest else l0


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
