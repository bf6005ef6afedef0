"""What an SAE of benchmarks/search.yaml would come to, by interpolation between those of replay_saes.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.interpolate import RBFInterpolator

from archsearch.evaluation.curves import Point

STEP, STEPS = 0.2, 10
"""Octaves between the depths at which cuts are interpolated, and how many there are: to a quarter of an SAE's own L0."""

SMOOTH = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""How closely the interpolation may follow what was measured; the best in cross-validation is taken."""

FEWEST, FOLDS = 12, 5
"""SAEs that a quantity must be known of to be interpolated; parts for cross-validation."""

BELOW = 0.985
"""How far under the front of all that was measured an interpolated FVU may lie, as a factor: further would be an artefact."""


class Fit:
    """One quantity over the places of the holes of a branch: a thin plate spline."""

    def __init__(self, places: Sequence[Sequence[float]], values: Sequence[float]):
        x, y = np.array(places), np.array(values)
        self.error, smooth = min((self._error(x, y, smooth), smooth) for smooth in SMOOTH)
        self._spline = RBFInterpolator(x, y, smoothing=smooth)

    @staticmethod
    def _error(x: Any, y: Any, smooth: float) -> float:
        """Returns the root mean square error for those left out, a fifth at a time."""
        fold, missed = np.arange(len(x)) % FOLDS, list[float]()
        for part in range(FOLDS):
            out = fold == part
            missed += [*(RBFInterpolator(x[~out], y[~out], smoothing=smooth)(x[out]) - y[out])]
        return float(np.sqrt(np.mean(np.square(missed))))

    def __call__(self, places: Sequence[float]) -> float:
        return float(self._spline(np.array([places]))[0])


class Model:
    """L0 and FVU of an SAE at shares of its run, and cut to lower L0s."""

    def __init__(self, saes: Sequence[dict[str, Any]]):
        self.l0: dict[tuple[str, float], Fit] = {}
        self.fvu: dict[tuple[str, float], Fit] = {}
        self.cuts: dict[tuple[str, int], Fit] = {}
        for branch in dict.fromkeys(sae["branch"] for sae in saes):
            own = [sae for sae in saes if sae["branch"] == branch]
            places = [sae["places"] for sae in own]
            for frac in (0.25, 0.5, 1.0):
                at = [sae["at"][str(frac)] for sae in own]
                self.l0[branch, frac] = Fit(places, [math.log2(max(l0, 2**-3)) for l0, _ in at])
                self.fvu[branch, frac] = Fit(places, [math.log(fvu) for _, fvu in at])
            for step in range(1, STEPS + 1):
                known = [(sae["places"], lost) for sae in own if (lost := _lost(sae, step * STEP)) is not None]
                if len(known) >= FEWEST:
                    self.cuts[branch, step] = Fit(*zip(*known, strict=True))
        points = sorted(tuple(point) for sae in saes for point in (sae["at"]["1.0"], *sae["points"]) if point[0] >= 1)
        least = [min(fvu for _, fvu in points[: index + 1]) for index in range(len(points))]
        self._front = np.log([l0 for l0, _ in points]), np.log(least)

    def at(self, branch: str, places: Sequence[float], frac: float) -> Point:
        """Returns L0 and FVU of an SAE after a share of its run."""
        l0, fvu = 2 ** self.l0[branch, frac](places), math.exp(self.fvu[branch, frac](places))
        return l0, min(self._possible(l0, fvu) if frac == 1 else fvu, 1.2)

    def cut(self, branch: str, places: Sequence[float], own: Point, level: float) -> float | None:
        """Returns the FVU of an SAE of L0 and FVU `own` cut to an L0; None where too little is known of cuts so deep."""
        depth = math.log2(own[0] / level)
        steps = [step for step in range(1, STEPS + 1) if (branch, step) in self.cuts]
        if not steps or depth > steps[-1] * STEP + STEP / 2:
            return None
        lost = [0.0, *(max(self.cuts[branch, step](places), 0.0) for step in steps)]
        return self._possible(level, own[1] * math.exp(np.interp(depth, [0.0, *(step * STEP for step in steps)], lost)))

    def _possible(self, l0: float, fvu: float) -> float:
        return max(fvu, BELOW * math.exp(np.interp(math.log(max(l0, 1.0)), *self._front)))


def _lost(sae: dict[str, Any], depth: float) -> float | None:
    """Returns the rise of log FVU where an SAE is cut so many octaves deep; None where it was not cut so deep."""
    l0, fvu = sae["at"]["1.0"]
    told = sorted((math.log2(l0 / level), math.log(cut / fvu)) for level, cut in sae["points"])
    for (left, low), (right, high) in pairwise([(0.0, 0.0), *told]):
        if left <= depth <= right:
            return low + (high - low) * (depth - left) / max(right - left, 1e-9)
    return None
