"""How much each choice of a space mattered to FVU at a given L0, by the trials there are.

The asks are the units, since the levels of one structure rise and fall together. With some tens of asks a share is a rough number, and
never zero by itself: it comes without what chance alone would give, with how far it moves when a third of the asks is left out, and with
how often shuffled choices explain as much.

PED-ANOVA (https://arxiv.org/abs/2304.10255, as Optuna keeps it) was tried in its place: with 12 to 18 asks its shares go to whatever number
was drawn freely, and their intervals reach from 1% to 98%.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput
from archsearch.evaluation.explained import NOWHERE, Column
from archsearch.evaluation.intervals import holm
from archsearch.search.judging import Band, octaves
from archsearch.search.records import StudyRecord, TrialRecord, feasible
from archsearch.search.settings import sparsity_settings, varied
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import TARGET, Space, sparsity_holes
from archsearch.spec.yaml import Document

LEAST_ASKS = 8
"""Fewest asks of a band that are judged."""

SHUFFLES, PARTS = 999, 200
"""Times choices are shuffled for what chance gives, and a third of the asks is left out for an interval."""

Features = Mapping[str, Any]


@dataclass(frozen=True)
class Share:
    """One choice in a band.

    `names`: what it is called; several that always go together are one choice; `share`: of the spread of log FVU among the asks of the
    band (0 to 1), `low` and `high`: where 90% of other studies of as many asks would put it, about; `p`: how often shuffled choices
    explain as much, adjusted for the number of choices of the band (Holm); `options`: different values there (count).
    """

    names: tuple[str, ...]
    share: float
    low: float
    high: float
    p: float
    options: int


@dataclass(frozen=True)
class BandImportance:
    """One band: its choices, the surest first, or `why` they are not judged."""

    band: Band
    trials: int
    asks: int
    shares: tuple[Share, ...]
    why: str = ""


@dataclass(frozen=True)
class Importance:
    """All of a study's band together, and every octave of it; `by`: what was judged, `holes` or `settings`."""

    by: str
    whole: BandImportance
    bands: tuple[BandImportance, ...]


def importance(record: StudyRecord, by_settings: bool = False) -> Importance:
    """Returns how much each choice mattered in every octave of L0 of a study's band.

    Holes of the space are judged where every trial of the search has them; else, and with `by_settings`, the settings in which the specs
    differ. What moves sparsity is none: FVU is judged against the straight line through the trials of its octave over log L0.
    """
    trials = [trial for trial in record.trials if not trial.baseline and feasible(trial, record.band)]
    by_settings = by_settings or not all(trial.params for trial in trials)
    found = _settings(trials) if by_settings else _holes(record, trials)
    features = dict(zip((trial.number for trial in trials), found, strict=True))
    parts = octaves(record.band)
    groups = {part: [trial for trial in trials if _inside(trial, part, part == parts[-1])] for part in parts}
    above: dict[int, float] = {}
    for group in groups.values():
        above |= _above_line(group)
    bands = [_band(record.name, part, group, features, above) for part, group in groups.items()]
    whole = _band(record.name, record.band, [trial for group in groups.values() for trial in group], features, above)
    return Importance("settings" if by_settings else "holes", whole, tuple(bands if len(bands) > 1 else ()))


def _inside(trial: TrialRecord, band: Band, last: bool) -> bool:
    l0 = trial.measurements["l0"]
    return band[0] <= l0 < band[1] or (last and l0 == band[1])


def _settings(trials: Sequence[TrialRecord]) -> list[Features]:
    free = [sparsity_settings(trial.spec) for trial in trials]
    return [
        {path: value for path, value in each.items() if path not in own and not path.startswith("controller.")}
        for each, own in zip(varied([trial.spec for trial in trials]), free, strict=True)
    ]


def _holes(record: StudyRecord, trials: Sequence[TrialRecord]) -> list[Features]:
    """Returns what the holes of each trial were filled with, but those that move sparsity."""
    try:
        space, fields = Space.read(Document(record.space)), catalogue().sparsity
    except InvalidInput:
        return [{name: value for name, value in trial.params.items() if name != TARGET} for trial in trials]
    found = []
    for trial in trials:
        try:
            swept = {TARGET, *sparsity_holes(space.refill(trial.params), fields)}
        except InvalidInput:
            swept = {TARGET}
        found.append({name: value for name, value in trial.params.items() if name not in swept})
    return found


def _band(
    study: str, band: Band, trials: Sequence[TrialRecord], features: Mapping[int, Features], above: Mapping[int, float]
) -> BandImportance:
    asks: dict[int, list[TrialRecord]] = {}
    for trial in trials:
        asks.setdefault(trial.ask, []).append(trial)
    told = band, len(trials), len(asks)
    if len(asks) < LEAST_ASKS:
        return BandImportance(*told, (), f"not enough trials: {len(trials)} of {len(asks)} asks, and it takes {LEAST_ASKS} asks")
    chosen = _with_absence([features[group[0].number] for group in asks.values()])
    together = _merged(chosen)
    if not together:
        return BandImportance(*told, (), "nothing but sparsity differs among its trials")
    values = np.array([np.mean([above[trial.number] for trial in group]) for group in asks.values()])
    chance = np.random.default_rng(seed_of("importance", study, *map(str, band)) % 2**32)
    columns = {name: Column.of([each.get(name, NOWHERE) for each in chosen]) for name in together}
    return BandImportance(*told, _shares(columns, values, together, chance))


def _shares(
    columns: Mapping[str, Column], values: np.ndarray, together: Mapping[str, tuple[str, ...]], chance: np.random.Generator
) -> tuple[Share, ...]:
    count = len(values)
    shuffled = [chance.permutation(values) for _ in range(SHUFFLES)]
    parts = [np.sort(chance.choice(count, size=count - count // 3, replace=False)) for _ in range(PARTS)]
    told = []
    for (name, column), p in zip(columns.items(), holm([_p(column, values, shuffled) for column in columns.values()]), strict=True):
        share = column.explained(values)[1]
        # A part of two thirds varies less than a new study of all asks would, by the root of two: what is left out, over what is kept.
        ends = np.quantile([column.part(part).explained(values[part])[1] for part in parts], (0.05, 0.95))
        low, high = (min(max(share + math.sqrt(2) * (float(end) - share), 0.0), 1.0) for end in ends)
        told.append(Share(together[name], share, low, high, p, column.options))
    return tuple(sorted(told, key=lambda one: (one.p, -one.share)))


def _p(column: Column, values: np.ndarray, shuffled: Sequence[np.ndarray]) -> float:
    """Returns how often shuffled values go with a choice as well as they do as they are."""
    found = column.explained(values)[0]
    return (1 + sum(column.explained(other)[0] >= found for other in shuffled)) / (1 + len(shuffled))


def _with_absence(chosen: Sequence[Features]) -> list[Features]:
    """Returns choices with those left out that are the same wherever they are there: they say which branch they stand in, and no more.

    Whether a block is there at all is a choice: its kind is `None` where it is not.
    """
    names = dict.fromkeys(name for each in chosen for name in each)
    open_ended = {name for name in names if len({repr(each[name]) for each in chosen if name in each}) > 1}
    kinds = {name for name in names if name.endswith(".kind")}
    return [{name: each.get(name) for name in names if name in kinds or (name in open_ended and name in each)} for each in chosen]


def _merged(chosen: Sequence[Features]) -> dict[str, tuple[str, ...]]:
    """Returns the choices that differ among asks, each with those that always go with it: a gate, and the penalty it needs.

    Only of few values, so that two numbers drawn freely, which differ in every ask, are not taken for one.
    """
    found: dict[Any, list[str]] = {}
    for name in dict.fromkeys(name for each in chosen for name in each):
        codes: dict[str, int] = {}
        pattern = tuple(codes.setdefault(repr(each[name]) if name in each else "", len(codes)) for each in chosen)
        if len(codes) > 1:
            found.setdefault(pattern if len(codes) <= len(chosen) / 2 else name, []).append(name)
    return {names[0]: tuple(names) for names in found.values()}


def _above_line(trials: Sequence[TrialRecord]) -> dict[int, float]:
    """Returns how far the log FVU of each trial lies above the straight line through all of them over log L0."""
    if not trials:
        return {}
    x = np.log2([trial.measurements["l0"] for trial in trials])
    y = np.log([max(trial.measurements["fvu"], math.ulp(0.0)) for trial in trials])
    line = np.polyfit(x, y, 1) if np.ptp(x) > 1e-6 else (0.0, float(np.mean(y)))
    return {trial.number: float(value) for trial, value in zip(trials, y - np.polyval(line, x), strict=True)}
