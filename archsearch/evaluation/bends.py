"""Two curves compared between the points they were measured at, which seldom lie at the same L0s.

FVU bends over log L0, the more the larger L0 is: straight lines in log FVU between L0 32 and 64 run some 8% below the curve of `topk` on
the bundled model. So two designs that are truly equal, one measured at L0 32 and 64 and the other at 34 and 69, seem to differ, and that
with every seed, so that no interval warns of it. Here the bend is taken out first: one polynomial for the points of both, and straight
lines join only what is left. What straight lines alone would say is kept beside it: where the two disagree, how the curves are drawn
decides, and not what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from archsearch.evaluation.curves import Point

NOISE = 0.003
"""Standard deviation of a root of FVU over seeds, as a share of it, about (studies/gates: 0.0026 to 0.0045)."""

SHARED = (math.inf, math.inf, 0.1, 0.03, 0.01)
"""Expected size of each coefficient of the polynomial both share, by power of log2 L0 (over L0 5 to 80 `topk` has 0.05, 0.02 and 0.004)."""

APART = (math.inf, math.inf)
"""The same for half the difference of the two: a straight line, for a bend of its own could pass for the one they share."""

GRID = 33
"""Places a mean over log L0 is taken at."""


class Pair:
    """Two curves (by rising L0), of two points or more with positive values, and the bend they share.

    The polynomial is fitted to the root of the value, which is straighter over log L0 than either the value or its logarithm.
    """

    def __init__(self, first: Sequence[Point], second: Sequence[Point]):
        self.curves = first, second
        self.low, self.high = max(first[0][0], second[0][0]), min(first[-1][0], second[-1][0])
        arrays = [np.asarray(curve, dtype=float) for curve in self.curves]
        self.middle = float(np.log2(np.concatenate([curve[:, 0] for curve in arrays])).mean())
        self.places = [np.log2(curve[:, 0]) - self.middle for curve in arrays]
        roots = [np.sqrt(curve[:, 1]) for curve in arrays]
        self.scale = float(np.concatenate(roots).mean())
        values = [root / self.scale for root in roots]
        self.shape = _fit(self.places, values)
        self.left = [value - _terms(x, side) @ self.shape for value, x, side in zip(values, self.places, (1, -1), strict=True)]

    @staticmethod
    def of(first: Sequence[Point], second: Sequence[Point]) -> Pair | None:
        """Returns the pair, or None where one of them is no curve."""
        if any(len(curve) < 2 or min(value for _, value in curve) <= 0 for curve in (first, second)):
            return None
        return Pair(first, second)

    def mean(self, low: float, high: float) -> float | None:
        """Returns the mean over log L0, from `low` to `high`, of the first's log value minus the second's; None outside either curve."""
        if not self.low <= low < high <= self.high:
            return None
        return float(self._differences(self._grid(low, high)).mean())

    def doubt(self, low: float, high: float) -> float:
        """Returns how far off straight lines in log value would be, a mean over log L0 of what they are off at each, whatever its sign.

        Points at the same L0s leave no doubt, however far apart they lie: both curves are then off by the same.
        """
        at = self._grid(low, high)
        logs = [np.log(np.asarray(curve, dtype=float)[:, 1]) for curve in self.curves]
        first, second = (np.interp(at, x, value) for x, value in zip(self.places, logs, strict=True))
        return float(np.abs(self._differences(at) - (first - second)).mean())

    def apart(self, low: float, high: float) -> float:
        """Returns how far a point that is read between `low` and `high` lies from the nearest of the other curve at most (octaves)."""
        edges = [math.log2(edge) - self.middle for edge in (low, high)]
        used = [x[max(int((x <= edges[0]).sum()) - 1, 0) : int((x < edges[1]).sum()) + 1] for x in self.places]
        others = self.places[::-1]
        return max(float(np.abs(other[:, None] - x).min(axis=0).max()) for x, other in zip(used, others, strict=True))

    def at(self, l0: float) -> float | None:
        """Returns the first's log value minus the second's at one L0; None outside either curve."""
        if not self.low <= l0 <= self.high:
            return None
        return float(self._differences(np.array([math.log2(l0) - self.middle]))[0])

    def _grid(self, low: float, high: float) -> np.ndarray:
        first, last = (math.log2(edge) - self.middle for edge in (low, high))
        return first + (np.arange(GRID) + 0.5) / GRID * (last - first)

    def _differences(self, at: np.ndarray) -> np.ndarray:
        both, half = (_value(terms, at) for terms in (self.shape[: len(SHARED)], self.shape[len(SHARED) :]))
        first, second = (np.interp(at, x, left) for x, left in zip(self.places, self.left, strict=True))
        return 2 * (np.log(np.maximum(both + half + first, 1e-9)) - np.log(np.maximum(both - half + second, 1e-9)))


def _fit(places: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the coefficients of the shared polynomial and of half the difference.

    Each is held to its expected size as far as the points do not say otherwise, so that few points are no harm.
    """
    rows = [_terms(x, side) for x, side in zip(places, (1, -1), strict=True)]
    held = np.diag(NOISE / np.array([*SHARED, *APART]))
    known = np.concatenate([*values, np.zeros(len(held))])
    return np.linalg.lstsq(np.vstack([*rows, held]), known, rcond=1e-9)[0]


def _terms(x: np.ndarray, side: int) -> np.ndarray:
    powers = x[:, None] ** np.arange(len(SHARED))
    return np.hstack([powers, side * powers[:, : len(APART)]])


def _value(terms: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns a polynomial, its terms by rising power, at `x`."""
    total = np.zeros_like(x)
    for term in terms[::-1]:
        total = total * x + term
    return total
