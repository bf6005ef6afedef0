"""Fills empty parts of the band: levels of a structure that stands near one, set to land inside it.

In a sweep over a hole, levels are spread over the hole's range, and what L0 they come to is known only once they are trained: a steep map
from a penalty to L0 may leave octaves of the band without any SAE. What trained trials say of that map tells where to aim.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from archsearch.evaluation.curves import Point, at_l0, curve_of
from archsearch.search.records import TrialRecord, standing
from archsearch.search.scale import Number, Scale
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import Space

MOST = 1.0
"""Octaves of the band that may stay empty at most: so that none of its octaves does."""

BEYOND = 2.0
"""Octaves outside the band at which an L0 further out is taken to lie: how dead an SAE is says nothing of the map inside the band."""

DEAD = 2.0**-10
"""Effective L0 that stands for none at all, which has no logarithm."""

UNSURE = 1.0
"""Octaves that the trials on both sides of a stretch may lie outside it for the map between them to be taken as straight."""

EDGE = 0.02
"""Share of a hole's range, from its end, in which a trial shows what the end comes to."""

Stretch = tuple[float, float]
"""From where to where, in log2 of effective L0."""

Knot = tuple[float, float]
"""log2 of effective L0, and the place on the hole's scale where it was reached."""


def fill(
    space: Space, fields: Mapping[str, str], trials: Sequence[TrialRecord], band: tuple[float, float], seed: int, ask: int
) -> list[dict[str, Any]] | None:
    """Returns parameters of trials to train for the widest empty stretch of the band, or None where there is nothing to be done.

    A stretch is empty where no SAE of the search stands that was finished; those wider than `quota` are filled. The structure is the one
    whose trials enclose the stretch most closely, in whole octaves; of several, the one with the least FVU there. As many levels as a
    structure has are set so that they should land evenly inside. Where no structure can, the next widest stretch is tried.

    Args:
        space: the space; one that sweeps over L0 itself needs no filling.
        fields: name of the sparsity setting by kind.
        trials: what is known of the study.
        band: effective L0 a front member may have.
        seed: seed of the study; with `ask` it decides between structures of which all else is equal.
        ask: number of the ask this is for.
    """
    if space.study.l0:
        return None
    searched = [trial for trial in trials if trial.baseline is None]
    structures = _structures(space, fields, searched, band)
    for stretch in _empty(searched, band, space.study.levels):
        order = {key: (round(one.outside(stretch)), one.fvu(stretch), seed_of(seed, ask, key)) for key, one in structures.items()}
        for key in sorted(order, key=order.__getitem__):
            one = structures[key]
            if not _in_vain(one, stretch, structures.values()) and (values := one.aim(stretch, space.study.levels)):
                return [{**one.params, one.hole: value} for value in values]
    return None


def quota(band: tuple[float, float], levels: int) -> float:
    """Returns how many octaves of the band may stay empty: as many as lie between levels spread evenly over it, at most `MOST`."""
    return min(MOST, math.log2(band[1] / band[0]) / (levels + 1))


def _empty(trials: Iterable[TrialRecord], band: tuple[float, float], levels: int) -> list[Stretch]:
    """Returns the stretches of the band wider than the quota in which no SAE stands, the widest first."""
    done = [trial.measurements.get("l0", math.nan) for trial in standing(trials) if trial.state == "complete"]
    inside = sorted(l0 for l0 in done if band[0] <= l0 <= band[1])
    edges = [math.log2(l0) for l0 in (band[0], *inside, band[1])]
    found = [(low, high) for low, high in pairwise(edges) if high - low > quota(band, levels) + 1e-9]
    return sorted(found, key=lambda stretch: (stretch[0] - stretch[1], stretch[0]))


@dataclass(frozen=True)
class _Structure:
    """Trials that differ in nothing but the hole they are swept over.

    `tried`: values of the hole; `knots`: what they came to, by rising level; `curve`: FVU by effective L0; `rises`: whether L0 rises along
    the hole.
    """

    hole: str
    scale: Scale
    params: dict[str, Any]
    tried: list[Number]
    knots: list[Knot]
    curve: list[Point]
    rises: bool

    @staticmethod
    def of(hole: str, scale: Scale, trials: Sequence[TrialRecord], band: tuple[float, float]) -> _Structure | None:
        """Returns the structure of some trials; None where they do not tell whether L0 rises or falls along the hole."""
        done = [t for t in trials if t.state == "complete" and t.measurements.get("l0", math.nan) >= 0]
        knots = [(math.log2(max(t.measurements["l0"], DEAD)), scale.place(t.params[hole])) for t in done]
        slope = _slope(knots)
        if not slope:
            return None
        low, high = math.log2(band[0]) - BEYOND, math.log2(band[1]) + BEYOND
        known = _monotone([(min(max(level, low), high), place) for level, place in knots], slope > 0)
        curve = curve_of((t.measurements["l0"], t.measurements.get("fvu", math.nan)) for t in done)
        return _Structure(hole, scale, trials[0].params, [t.params[hole] for t in trials], known, curve, slope > 0)

    def enclosing(self, stretch: Stretch) -> tuple[Knot | None, Knot | None]:
        """Returns the knots next to a stretch, below it and above it; None on a side where there is none."""
        below = [knot for knot in self.knots if knot[0] <= stretch[0]]
        above = [knot for knot in self.knots if knot[0] >= stretch[1]]
        return (below[-1] if below else None), (above[0] if above else None)

    def outside(self, stretch: Stretch) -> float:
        """Returns how many octaves the knots next to a stretch lie outside it; a side without one counts `BEYOND` and what it lacks."""
        below, above = self.enclosing(stretch)
        left = stretch[0] - below[0] if below else BEYOND + max(self.knots[0][0] - stretch[1], 0.0)
        right = above[0] - stretch[1] if above else BEYOND + max(stretch[0] - self.knots[-1][0], 0.0)
        return left + right

    def fvu(self, stretch: Stretch) -> float:
        """Returns FVU in the middle of a stretch, or at the nearest L0 reached."""
        if not self.curve:
            return math.inf
        found = at_l0(self.curve, min(max(2 ** (sum(stretch) / 2), self.curve[0][0]), self.curve[-1][0]))
        return math.inf if found is None else found

    def aim(self, stretch: Stretch, count: int) -> list[Number]:
        """Returns up to `count` values not tried yet that should land evenly inside a stretch.

        Where the knots beside it lie close, the map between them is taken as straight; else the levels are spread from one to the other, or
        to the end of the hole's range, so that wherever the map is steep the next ones find it.
        """
        below, above = self.enclosing(stretch)
        first = below[1] if below else float(not self.rises)
        last = above[1] if above else float(self.rises)
        shares = [(index + 1) / (count + (below is not None and above is not None)) for index in range(count)]
        if not below:
            shares = [1 - share for share in shares]
        if below and above and self.outside(stretch) <= UNSURE:
            low, high = stretch
            shares = [(low + share * (high - low) - below[0]) / (above[0] - below[0]) for share in shares]
        places = [first + share * (last - first) for share in shares]
        return self.scale.untried(places, (min(first, last), max(first, last)), self.tried)


def _structures(space: Space, fields: Mapping[str, str], trials: Iterable[TrialRecord], band: tuple[float, float]) -> dict[str, _Structure]:
    """Returns the structures of a search that are swept over a hole of numbers, by what they are apart from it."""
    parameters, groups = space.parameters(), dict[tuple[str, str], list[TrialRecord]]()
    for trial in trials:
        if hole := space.sparsity_hole(space.refill(trial.params), fields):
            rest = {name: value for name, value in trial.params.items() if name != hole}
            groups.setdefault((hole, json.dumps(rest, sort_keys=True)), []).append(trial)
    scales = {hole: Scale.of(parameters[hole].hole) for hole, _ in groups}
    made = {key: _Structure.of(key[0], scale, group, band) for key, group in groups.items() if (scale := scales[key[0]])}
    return {rest: one for (_, rest), one in made.items() if one is not None}


def _in_vain(one: _Structure, stretch: Stretch, structures: Iterable[_Structure]) -> bool:
    """Tells whether a stretch lies beyond the end of the hole's range, as far as any structure's trials there show."""
    below, above = one.enclosing(stretch)
    for other in structures:
        for level, place in other.knots if other.hole == one.hole else ():
            if not below and abs(place - float(not one.rises)) <= EDGE and level >= stretch[1]:
                return True
            if not above and abs(place - float(one.rises)) <= EDGE and level <= stretch[0]:
                return True
    return False


def _slope(knots: Sequence[Knot]) -> float:
    """Returns a number with the sign of the slope of level over place; zero where there is none to be seen."""
    level, place = (sum(column) / len(knots) for column in zip(*knots, strict=True)) if knots else (0.0, 0.0)
    found = sum((knot[0] - level) * (knot[1] - place) for knot in knots)
    return found if abs(found) > 1e-9 else 0.0


def _monotone(knots: Sequence[Knot], rises: bool) -> list[Knot]:
    """Returns knots by rising level, as a map that rises or falls throughout: neighbours that contradict it both get their mean."""
    by_place = sorted(knots, key=lambda knot: knot[1], reverse=not rises)
    pools: list[tuple[float, int]] = []
    for known, _ in by_place:
        pools.append((known, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (right, more), (left, some) = pools.pop(), pools.pop()
            pools.append(((left * some + right * more) / (some + more), some + more))
    levels = [known for known, count in pools for _ in range(count)]
    return [(known, place) for known, (_, place) in zip(levels, by_place, strict=True)]
