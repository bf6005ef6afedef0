"""What a page's script reads of a study: points to draw, and everything the panel of a trial shows."""

from __future__ import annotations

from typing import Any

from archsearch.reporting.front import finite
from archsearch.reporting.picture import number, ticks
from archsearch.reporting.report.boxes import Diagram, diagram
from archsearch.reporting.report.confirmed import seed_points
from archsearch.reporting.report.data import Report
from archsearch.reporting.report.drawing import svg
from archsearch.reporting.report.palette import style_of
from archsearch.search.records import TrialRecord, feasible, standing
from archsearch.spec.yaml import dump

MEASURED = {
    "l0": "effective L0",
    "fvu": "FVU",
    "ce_recovered": "CE recovered",
    "dead_frac": "dead latents (share)",
    "gamma": "gamma (1: no shrinkage)",
    "cosine": "cosine",
    "mse": "squared error",
    "dense_rank": "rank past every code",
    "parameters": "parameters",
    "flops": "FLOPs of a row, forward",
    "seconds": "seconds of training",
}
"""Measurements by their names in a record, in the order and words of a trial's panel."""

RECONSTRUCTION = "reconstruction"
"""Label the assembler gives the term of the loss that rebuilds."""


def payload(report: Report) -> dict[str, Any]:
    """Returns everything the script of a page reads, as plain JSON values."""
    shown = report.picture
    drawings: dict[Diagram, int] = {}
    trials = [_trial(report, trial, drawings) for trial in standing(report.record.trials)]
    learning = list(dict.fromkeys([*[row.trial for row in report.front], *[t.number for curve in report.curves.values() for t in curve]]))
    volume = report.volume
    return {
        "band": list(shown.band),
        "xlim": list(shown.xlim),
        "ylim": list(shown.ylim),
        "ticks": [[mark, number(mark)] for mark in ticks(shown.xlim)],
        "series": [{"name": name, "colour": style_of(i)[0], "symbol": style_of(i)[1]} for i, name in enumerate(report.names)],
        "trials": trials,
        "drawings": [svg(one, "Architecture of the trial") for one in drawings],
        "front": [_key(trial) for trial in shown.front],
        "curves": {name: [_key(trial) for trial in curve] for name, curve in report.curves.items()},
        "volume": {"tokens": volume.tokens, "reached": [_short(v) for v in volume.reached], "baselines": _short(volume.baselines)}
        | {"baselineTokens": volume.baseline_tokens},
        "learning": [n for n in learning if report.by_number[n].history],
        "confirm": _confirm(report),
    }


def _key(trial: TrialRecord) -> int | str:
    """Returns what the script knows a trial, or a point of one, by."""
    return trial.number if trial.cut_to is None else trial.label


def _trial(report: Report, trial: TrialRecord, drawings: dict[Diagram, int]) -> dict[str, Any]:
    found = {name: finite(trial.measurements.get(name)) for name in MEASURED}
    l0, fvu = found["l0"], found["fvu"]
    drawn = trial.number in report.family_of
    numbers = [(label, found[name]) for name, label in MEASURED.items()]
    return {
        "n": _key(trial),
        "series": report.index_of(trial),
        "baseline": trial.baseline,
        "family": report.family_of.get(trial.number, ""),
        "state": trial.state,
        "message": trial.message,
        "inside": feasible(trial, report.record.band, report.record.objectives) and trial.cut_to is None,
        "cut": trial.cut_to is not None,  # drawn hollow, on the front too
        "x": l0 if drawn else None,
        "y": fvu if drawn else None,
        "words": trial.words,
        "measured": [[label, _worded(value)] for label, value in numbers if value is not None],
        "copied": trial.copied_from,
        "arch": trial.arch,
        "run": trial.run,
        "spec": dump(trial.spec),
        "drawing": drawings.setdefault(diagram(trial.spec), len(drawings)),
        **_history(trial),
    }


def _history(trial: TrialRecord) -> dict[str, Any]:
    """Returns a learning curve: rows trained on, and every term of the loss there."""
    batch = int((trial.spec.get("training") or {}).get("batch") or 1)
    names = list(dict.fromkeys(name for _, terms in trial.history for name in terms))
    terms = {name: [_short(finite(at.get(name))) for _, at in trial.history] for name in names}
    return {"tokens": [step * batch for step, _ in trial.history], "terms": terms, "main": main_term(trial)}


def main_term(trial: TrialRecord) -> str | None:
    """Returns the term of the loss whose course stands for a trial's learning; None where it has no curve."""
    names = list(dict.fromkeys(name for _, terms in trial.history for name in terms))
    return RECONSTRUCTION if RECONSTRUCTION in names else next(iter(names), None)


def _confirm(report: Report) -> list[dict[str, Any]]:
    found = []
    for index, contender in enumerate((report.confirmed or {}).get("contenders", [])):
        colour, symbol, _ = style_of(index)
        seeds = [[list(place) for place in points] for points in seed_points(contender).values()]
        found.append({"name": str(contender["name"]), "baseline": bool(contender.get("baseline")), "seeds": seeds})
        found[-1] |= {"colour": colour, "symbol": symbol}
    return found


def _short(value: float | None) -> float | None:
    """Returns a number with as many digits as a plot can show."""
    return None if value is None else float(f"{value:.5g}")


def _worded(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
