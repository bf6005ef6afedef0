"""The study by bands of effective L0: in each, the best SAE of every family against the best baseline at the same L0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from archsearch.reporting.front import Versus, baseline_curves, point, versus
from archsearch.search.records import StudyRecord, TrialRecord, feasible

Band = tuple[float, float]

_NARROW = math.sqrt(2)
"""A band narrower than this factor joins the one beside it."""


@dataclass(frozen=True)
class Place:
    """A trial of the search beside the best baseline at its L0."""

    trial: TrialRecord
    family: str
    versus: Versus


@dataclass(frozen=True)
class BandResult:
    """One band: the best place of each family, best first; `alone`: trials at L0s that no baseline reaches; `tried`: all trials there."""

    band: Band
    best: tuple[Place, ...]
    alone: tuple[TrialRecord, ...]
    tried: int


def octaves(band: Band) -> list[Band]:
    """Returns the band cut at the powers of two inside it, none of the pieces very narrow."""
    low, high = band
    first, last = math.ceil(math.log2(low * _NARROW)), math.floor(math.log2(high / _NARROW))
    return list(pairwise([low, *[2.0**power for power in range(first, last + 1)], high]))


def inside(l0: float, band: Band, last: bool) -> bool:
    """Tells whether an L0 lies in a band; its upper end belongs to the next one, except in the `last`."""
    return band[0] <= l0 < band[1] or (last and l0 == band[1])


def band_results(record: StudyRecord, family_of: dict[int, str]) -> list[BandResult]:
    """Returns every band of a study with what its search reached there."""
    curves = baseline_curves(record)
    search = [trial for trial in record.trials if not trial.baseline and feasible(trial, record.band)]
    bands = octaves(record.band)
    return [_result(band, _within(search, band, band == bands[-1]), curves, family_of) for band in bands]


def _within(trials: Sequence[TrialRecord], band: Band, last: bool) -> list[TrialRecord]:
    return [trial for trial in trials if inside(trial.measurements["l0"], band, last)]


def _result(band: Band, trials: list[TrialRecord], curves: dict[str, list[TrialRecord]], family_of: dict[int, str]) -> BandResult:
    best: dict[str, Place] = {}
    alone = []
    for trial in trials:
        against = versus(point(trial), curves)
        if against is None or not math.isfinite(against.percent):
            alone.append(trial)
            continue
        family = family_of[trial.number]
        if family not in best or against.percent < best[family].versus.percent:
            best[family] = Place(trial, family, against)
    return BandResult(band, tuple(sorted(best.values(), key=lambda place: place.versus.percent)), tuple(alone), len(trials))
