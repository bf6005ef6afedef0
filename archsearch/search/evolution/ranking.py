"""Which structures to make children from: those that add most to the front."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.records import TrialRecord, feasible, values

T = TypeVar("T")


def ranked(trials: Sequence[TrialRecord], band: tuple[float, float], objectives: tuple[str, ...]) -> list[int]:
    """Returns the asks of trials, the best first.

    A structure stands on the best of the layers its trials stand on: 0 for those that no other trial dominates, 1 for those that only
    trials of layer 0 do, and so on. On one layer, that comes first which the layer's hypervolume would lose most without. Trials that
    failed, were stopped, or lie outside the band count for nothing, and structures with no others come last.
    """
    asks = {ask: [t for t in trials if t.ask == ask and feasible(t, band, objectives)] for ask in dict.fromkeys(t.ask for t in trials)}
    good = [trial for found in asks.values() for trial in found]
    layer_of = dict(zip((trial.number for trial in good), layers([values(trial, objectives) for trial in good]), strict=True))
    best = {ask: min((layer_of[trial.number] for trial in found), default=len(good)) for ask, found in asks.items()}
    added: dict[int, float] = {}
    for layer in {*best.values()}:
        added |= _added({ask: found for ask, found in asks.items() if best[ask] == layer}, band)
    return sorted(asks, key=lambda ask: (best[ask], -added[ask], ask))


def layers(vectors: Sequence[Sequence[float]]) -> list[int]:
    """Returns the layer of each vector (lower is better in every place): 0 for the front, 1 for the front without it, and so on."""
    if not vectors:
        return []
    points = np.asarray(vectors, dtype=float)
    no_worse: np.ndarray = np.asarray((points[:, None, :] <= points[None, :, :]).all(-1))
    dominates = no_worse & ~no_worse.T
    above: np.ndarray = dominates.sum(0)
    found: np.ndarray = np.full(len(points), -1)
    layer = 0
    while (left := found < 0).any():
        front = left & (above == 0)
        found[front] = layer
        above = above - dominates[front].sum(0)
        layer += 1
    return found.tolist()


def _added(asks: Mapping[int, Sequence[TrialRecord]], band: tuple[float, float]) -> dict[int, float]:
    """Returns the hypervolume that structures lose together when one of them is left out, by its ask."""
    points = {ask: [(trial.measurements["l0"], trial.measurements["fvu"]) for trial in found] for ask, found in asks.items()}
    whole = hypervolume((point for found in points.values() for point in found), band)
    return {own: whole - hypervolume((p for ask, found in points.items() if ask != own for p in found), band) for own in points}


def drawn(ranking: Sequence[T], draw: random.Random) -> T:
    """Returns the better of two drawn from a ranking, the best first."""
    return ranking[min(draw.randrange(len(ranking)), draw.randrange(len(ranking)))]
