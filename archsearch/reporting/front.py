"""The front of a study against its baselines, as plain data: what tables, pictures and `front.json` are made from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archsearch.assembler.words import telling
from archsearch.evaluation.curves import Point, at_l0
from archsearch.search.records import StudyRecord, TrialRecord, feasible, whole_front

FORMAT = "archsearch-front-1"

SLACK = 1.01
"""How far beyond its ends a baseline's curve still counts (factor of L0), at the FVU of its end."""


@dataclass(frozen=True)
class Versus:
    """The best baseline at the effective L0 of a front member.

    `baseline`: its name; `fvu`: what it reaches there (log FVU interpolated over log L0); `percent`: how far the member's FVU is from it
    (below 0: better).
    """

    baseline: str
    fvu: float
    percent: float


@dataclass(frozen=True)
class FrontRow:
    """One member of the front; a measurement nobody made is None, and so is `versus` outside every baseline's curve.

    `cut_to`: of a point of the trial, the L0 asked for; `label`: the trial's number, and that.
    """

    trial: int
    words: str
    baseline: str | None
    l0: float
    fvu: float
    ce_recovered: float | None
    dead_frac: float | None
    versus: Versus | None
    cut_to: float | None
    label: str


def baseline_names(record: StudyRecord) -> list[str]:
    """Returns the names of the study's baselines, in the order they were first tried."""
    return list(dict.fromkeys(trial.baseline for trial in record.trials if trial.baseline))


def baseline_curves(record: StudyRecord) -> dict[str, list[TrialRecord]]:
    """Returns the best trials of each baseline and points of them by rising L0, each with a lower FVU than all before it.

    Trials outside the band count: they only say what the baseline can do beside it. Without a finished trial the curve is empty.
    """
    everywhere = (math.ulp(0.0), math.inf)  # any L0 whose logarithm there is
    return {name: whole_front([trial for trial in record.trials if trial.baseline == name], everywhere) for name in baseline_names(record)}


def point(trial: TrialRecord) -> Point:
    """Returns where a measured trial stands: effective L0 and FVU."""
    return trial.measurements["l0"], trial.measurements["fvu"]


def versus(place: Point, curves: dict[str, list[TrialRecord]]) -> Versus | None:
    """Returns the best baseline at the L0 of `place`, or None where no baseline's curve reaches.

    A curve counts to `SLACK` beyond its ends: asked for the same L0, two SAEs end a hair apart, and whoever lies beyond the better
    baseline by that hair must not be set against the worse one.
    """
    l0, fvu = place
    found = {name: _read([point(trial) for trial in curve], l0) for name, curve in curves.items()}
    reached = {name: value for name, value in found.items() if value is not None}
    if not reached:
        return None
    best = min(reached, key=lambda name: reached[name])
    percent = 100 * (fvu - reached[best]) / reached[best] if reached[best] > 0 else math.nan
    return Versus(best, reached[best], percent)


def _read(curve: list[Point], l0: float) -> float | None:
    if not curve:
        return None
    inside = min(max(l0, curve[0][0]), curve[-1][0])
    return at_l0(curve, inside) if 1 / SLACK <= l0 / inside <= SLACK else None


def front_trials(record: StudyRecord) -> list[TrialRecord]:
    """Returns the members of the front by rising first objective, points of trials among them."""
    return whole_front(record.trials, record.band, record.objectives)


def front_rows(record: StudyRecord) -> list[FrontRow]:
    """Returns the front, every member beside the best baseline at its L0."""
    curves, words = baseline_curves(record), short_words(record.trials)
    return [_row(trial, words[trial.number], curves) for trial in front_trials(record)]


def short_words(trials: Sequence[TrialRecord]) -> dict[int, str]:
    """Returns each trial in the words that tell it from the others of its kind, by number; a baseline's begin with its name."""
    found: dict[int, str] = {}
    for name in dict.fromkeys(trial.baseline for trial in trials):
        group = [trial for trial in trials if trial.baseline == name]
        head = f"baseline {name}: " if name else ""
        found |= {trial.number: head + text for trial, text in zip(group, telling([t.words for t in group]), strict=True)}
    return found


def _row(trial: TrialRecord, words: str, curves: dict[str, list[TrialRecord]]) -> FrontRow:
    found = trial.measurements
    l0, fvu = point(trial)
    return FrontRow(
        trial=trial.number,
        words=words,
        baseline=trial.baseline,
        l0=l0,
        fvu=fvu,
        ce_recovered=finite(found.get("ce_recovered")),
        dead_frac=finite(found.get("dead_frac")),
        versus=versus((l0, fvu), curves),
        cut_to=trial.cut_to,
        label=trial.label,
    )


def finite(value: float | None) -> float | None:
    """Returns `value`, or None where it is no finite number (JSON has no other way to say so)."""
    return value if value is not None and math.isfinite(value) else None


def counts(record: StudyRecord) -> dict[str, int]:
    """Returns how many trials there are of each state, and how many of the complete ones lie outside the band."""
    found = Counter(trial.state for trial in record.trials)
    outside = sum(trial.state == "complete" and not feasible(trial, record.band) for trial in record.trials)
    return {**dict(sorted(found.items())), "outside_band": outside}


def front_json(record: StudyRecord) -> dict[str, Any]:
    """Returns the content of `front.json`: specs, measurements, hashes and provenance; plain JSON values only."""
    return plain(
        {
            "format": FORMAT,
            "study": record.name,
            "question": record.question,
            "command": record.command,
            "seconds": record.seconds,
            "stopped": record.stopped,
            "objectives": list(record.objectives),
            "band": list(record.band),
            "planned": record.planned,
            "trials": counts(record),
            "front": [_member(*member) for member in zip(front_rows(record), front_trials(record), strict=True)],
            "baselines": {name: [_step(trial) for trial in curve] for name, curve in baseline_curves(record).items()},
            "space": record.space,
            "provenance": record.provenance,
        }
    )


def entry(trial: TrialRecord) -> dict[str, Any]:
    """Returns everything another program needs of one trial, or point of one, as `best.json` and `front.json` hold it."""
    return {
        "trial": trial.number,
        **cut_of(trial),
        "words": trial.words,
        "baseline": trial.baseline,
        "spec": trial.spec,
        "params": trial.params,
        "arch": trial.arch,
        "run": trial.run,
        "measurements": trial.measurements,
    }


def cut_of(trial: TrialRecord) -> dict[str, Any]:
    """Returns what tells a point from its trial, nothing for a trial."""
    return {} if trial.cut_to is None else {"cut_from": trial.number, "cut_to": trial.cut_to}


def _member(row: FrontRow, trial: TrialRecord) -> dict[str, Any]:
    return {**entry(trial), "versus_baseline": asdict(row.versus) if row.versus else None}


def _step(trial: TrialRecord) -> dict[str, Any]:
    told = {"measurements": trial.measurements, "spec": trial.spec, "arch": trial.arch, "run": trial.run}
    return {"trial": trial.number, **cut_of(trial), **told}


def plain(value: Any) -> Any:
    """Returns `value` with every number JSON cannot write as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return finite(value) if isinstance(value, float) else value
