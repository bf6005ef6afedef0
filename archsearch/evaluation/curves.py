"""Curves over effective L0, one of a structure and a seed: read between their points, never beyond them.

Error falls about as a power of L0, so values are taken as straight in log L0 and log value; a measure that is no positive error (CE
recovered) is taken as straight in log L0 and itself.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence

Real = int | float
"""A number as JSON and hand-written points have it: whole ones without a point."""

Point = tuple[Real, Real]
"""Effective L0 and a value there."""


def curve_of(points: Iterable[Point]) -> list[Point]:
    """Returns points as a curve, by rising L0; those without a finite value or a logarithm of L0 are left out, equal L0s averaged."""
    at: dict[Real, list[Real]] = {}
    for l0, value in points:
        if 0 < l0 < math.inf and math.isfinite(value):
            at.setdefault(l0, []).append(value)
    return [(l0, sum(values) / len(values)) for l0, values in sorted(at.items())]


def at_l0(curve: Sequence[Point], l0: Real, *, linear: bool = False) -> Real | None:
    """Returns the value of a curve (by rising L0) at `l0`; between points, log value is linear in log L0 (`linear`: the value itself).

    None outside the curve, and between points of which one has no logarithm.
    """
    if not curve or not curve[0][0] <= l0 <= curve[-1][0]:
        return None
    index = bisect_left([x for x, _ in curve], l0)
    right_l0, right = curve[index]
    if right_l0 == l0:
        return right
    left_l0, left = curve[index - 1]
    share = math.log(l0 / left_l0) / math.log(right_l0 / left_l0)
    if linear:
        return left + share * (right - left)
    if left <= 0 or right <= 0:
        return None
    return left * (right / left) ** share


def area(curve: Sequence[Point], low: Real, high: Real) -> float | None:
    """Returns the mean of log value over log L0 from `low` to `high`, the pieces between points taken as straight.

    None unless the curve covers all of it with positive values.
    """
    inner = [x for x, _ in curve if low < x < high]
    edges = [low, *inner, high]
    read = [at_l0(curve, x) for x in edges]
    values = [math.log(value) for value in read if value is not None and value > 0]
    if len(values) < len(edges):
        return None
    places = [math.log(x) for x in edges]
    if places[0] == places[-1]:  # two numbers may have one logarithm
        return values[0]
    pieces = [(b - a) * (u + v) / 2 for a, b, u, v in zip(places, places[1:], values, values[1:], strict=False)]
    return sum(pieces) / (places[-1] - places[0])
