"""What each choice of a space came to: the trials of every option against the best baseline at their own L0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from archsearch.errors import InvalidInput
from archsearch.reporting.front import Point, at_l0, baseline_curves, front_trials, point, versus
from archsearch.reporting.report.bands import Band, inside, octaves
from archsearch.search.records import StudyRecord, TrialRecord, feasible
from archsearch.spec.space import TARGET, Space
from archsearch.spec.yaml import Document


@dataclass(frozen=True)
class Cell:
    """The trials of one option in one band: `best` and `middle` (median) FVU against the reference, in percent (below 0: better).

    `trial`: the best one's number; all three None where no trial could be compared; `compared`: trials behind them, of `count` there.
    """

    best: float | None
    middle: float | None
    trial: int | None
    compared: int
    count: int


@dataclass(frozen=True)
class Option:
    """One value of a choice, with its cell in every band; `count`: its trials anywhere, finished or not."""

    name: str
    count: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Choice:
    """One hole that is a choice; `only`: the branches under which it is there at all, in words."""

    name: str
    only: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Worth:
    """All choices of a study over the same bands, against the same `reference` (in words)."""

    bands: tuple[Band, ...]
    reference: str
    choices: tuple[Choice, ...]


def worth(record: StudyRecord) -> Worth:
    """Returns what the options of each choice came to; only trials of the search count."""
    trials = [trial for trial in record.trials if not trial.baseline]
    bands = tuple(octaves(record.band))
    curves, members = baseline_curves(record), [point(member) for member in front_trials(record)]
    percents = {trial.number: _percent(point(trial), curves, members) for trial in trials if feasible(trial, record.band)}
    choices = []
    for name, (values, only) in _discrete(record, trials).items():
        options = [_option(value, [t for t in trials if _has(t, name, value)], bands, percents) for value in values]
        choices.append(Choice(name, only, tuple(options)))
    reference = "the best baseline at the same L0" if curves else "the study's own front at the same L0"
    return Worth(bands, reference, tuple(choices))


def _has(trial: TrialRecord, name: str, value: Any) -> bool:
    found = trial.params.get(name, _NOTHING)
    return type(found) is type(value) and found == value


_NOTHING = object()


def _percent(place: Point, curves: dict[str, list[TrialRecord]], members: Sequence[Point]) -> float | None:
    """Returns how far an FVU is from the reference at its L0; None where that does not reach."""
    if curves:
        found = versus(place, curves)
        return found.percent if found and math.isfinite(found.percent) else None
    best = at_l0(members, place[0])
    return 100 * (place[1] - best) / best if best else None


def _discrete(record: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, tuple[list[Any], str]]:
    """Returns values and condition of every choice by name, in the order of the space; sweeps over L0 are none.

    Where the space cannot be read any more (a block of one's own that is missing), choices are what trials have words or truth values for.
    """
    try:
        parameters = Space.read(Document(record.space)).parameters()
    except InvalidInput:
        return _seen(trials)
    found = {}
    for name, parameter in parameters.items():
        values = parameter.values() if parameter.discrete else []
        if len(values) > 1 and name != TARGET:
            only = "; ".join(f"{other} is {' or '.join(map(worded, allowed))}" for other, allowed in parameter.condition.items())
            found[name] = (list(values), only)
    return found


def _seen(trials: Sequence[TrialRecord]) -> dict[str, tuple[list[Any], str]]:
    values: dict[str, list[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            if isinstance(value, (str, bool)) and value not in values.setdefault(name, []):
                values[name].append(value)
    return {name: (sorted(found, key=str), "") for name, found in sorted(values.items()) if len(found) > 1}


def worded(value: Any) -> str:
    """Returns a value of a hole as people write it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _option(value: Any, trials: list[TrialRecord], bands: Sequence[Band], percents: dict[int, float | None]) -> Option:
    cells = []
    for band in bands:
        there = [t for t in trials if t.number in percents and inside(t.measurements["l0"], band, band == bands[-1])]
        compared = sorted((percent, t.number) for t in there if (percent := percents[t.number]) is not None)
        if compared:
            cells.append(Cell(compared[0][0], median(percent for percent, _ in compared), compared[0][1], len(compared), len(there)))
        else:
            cells.append(Cell(None, None, None, 0, len(there)))
    return Option(worded(value), len(trials), tuple(cells))
