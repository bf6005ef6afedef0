"""Hypervolume of points of L0 and FVU: what a front leaves behind it, in octaves of L0 times FVU."""

from __future__ import annotations

import math
from collections.abc import Iterable

from archsearch.evaluation.curves import Point

WORST = 1.0
"""FVU of the reference point: what the mean activation alone explains."""


def hypervolume(points: Iterable[Point], band: tuple[float, float]) -> float:
    """Returns the area that points (effective L0, FVU) dominate inside a band of L0 (higher is better; most: octaves of the band).

    The reference point is the band's upper edge and `WORST`, fixed with the band when a study is created. A point below the band stands at
    its lower edge, so that an L0 that misses the edge by a hair loses nothing; one above the band dominates nothing in it.
    """
    low, high = band
    inside = sorted((max(l0, low), value) for l0, value in points if 0 < l0 < high and value < WORST)
    total, best, after = 0.0, WORST, high
    steps: list[Point] = []
    for l0, value in inside:
        if value < best:
            steps.append((l0, best := value))
    for l0, value in reversed(steps):
        total += math.log2(after / l0) * (WORST - value)
        after = l0
    return total
