"""How sure a mean of few differences is: paired t intervals, and p values adjusted for the number of questions asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit


@dataclass(frozen=True)
class Interval:
    """A mean of differences with its confidence interval.

    `p`: how likely a mean this far from zero or further is if there is no difference (two-sided); `count`: differences taken.
    """

    mean: float
    low: float
    high: float
    p: float
    count: int


def paired(differences: Sequence[float], confidence: float = 0.95) -> Interval:
    """Returns the two-sided t interval of the mean of paired differences, of which there must be one or more, all finite.

    One difference says nothing of its spread: its interval is infinite and `p` is 1. Differences that are all alike leave none: the
    interval is the mean alone, and `p` is 0, or 1 where they are all zero.
    """
    count = len(differences)
    assert count and all(math.isfinite(value) for value in differences), f"differences must be finite numbers; got {differences!r}"
    mean = math.fsum(differences) / count
    if count == 1:
        return Interval(mean, -math.inf, math.inf, 1.0, 1)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (count - 1) / count)
    if max(differences) == min(differences) or error == 0.0:
        return Interval(mean, mean, mean, 1.0 if mean == 0 else 0.0, count)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * error
    return Interval(mean, mean - half, mean + half, float(2 * stdtr(count - 1, -abs(mean) / error)), count)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p values adjusted by Holm's method, in the order given: the smallest times their number, the next times one less, ...

    Each is at least as large as those before it in rising order, and at most 1. Those at most alpha are found together with no more
    than a chance of alpha that any is there by luck.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
