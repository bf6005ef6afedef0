"""Two designs at matched effective L0, in pairs of seeds: each seed's own curve is read at one L0 for both, and only inside both.

An L0 asked for is reached within a few percent, so that the lowest and highest one asked often lie just outside a curve. Then the
nearest L0 inside all curves stands for it, and is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archsearch.evaluation.bends import Pair
from archsearch.evaluation.curves import Point, at_l0, curve_of
from archsearch.evaluation.verdicts import l0_words

NEAR = 1.2
"""How far from the L0 asked for a run may have landed, as a factor, to speak for it. Elsewhere a curve would be read across a gap."""

Row = Mapping[str, Any]
"""One run: `seed`, `asked` (None for an SAE trained as written), and `l0`, `fvu`, `ce_recovered`, or `failure`."""


@dataclass(frozen=True)
class Match:
    """Two designs compared at one L0.

    `asked`: the L0 asked for, None where one of them was trained as written; `at`: lowest and highest effective L0 read (one for all seeds
    but where one was trained as written); `fvu`: difference of log FVU, `ce`: of CE recovered, each the second's minus the first's, by
    seed; `why`: the reason where there are none.
    """

    asked: float | None
    at: tuple[float, float]
    fvu: dict[int, float]
    ce: dict[int, float]
    why: str = ""


@dataclass(frozen=True)
class _Curves:
    """One design's measurements by seed."""

    fvu: dict[int, list[Point]]
    ce: dict[int, list[Point]]

    @property
    def reach(self) -> str:
        ends = [curve[end][0] for curve in self.fvu.values() for end in (0, -1)]
        return f"L0 {l0_words(min(ends))} to {l0_words(max(ends))}" if ends else "none"


def matched(first: Sequence[Row], second: Sequence[Row], levels: Iterable[float]) -> list[Match]:
    """Returns the comparison of two designs at each of `levels`, or at the L0s where one trained as written lies."""
    curves = _curves(first), _curves(second)
    lone = [index for index, rows in enumerate((first, second)) if any(row["asked"] is None for row in rows)]
    return [_at_points(*curves, lone[0])] if lone else [_at_level(*curves, level) for level in levels]


def in_common(matches: Sequence[Match]) -> list[Match]:
    """Returns the matches a mean over L0s is taken of: those with the most seeds, so that one lost run costs its L0, not its seed."""
    most = max((len(match.fvu) for match in matches), default=0)
    return [match for match in matches if match.fvu and len(match.fvu) == most]


def over(matches: Sequence[Match], field: str = "fvu") -> dict[int, float]:
    """Returns differences averaged over matches, of the seeds that all of them have."""
    found = [getattr(match, field) for match in matches]
    seeds = sorted(set(found[0]).intersection(*found)) if found else []
    return {seed: sum(differences[seed] for differences in found) / len(found) for seed in seeds}


def _curves(rows: Sequence[Row]) -> _Curves:
    def by_seed(name: str) -> dict[int, list[Point]]:
        points: dict[int, list[Point]] = {}
        for row in rows:
            if row.get("failure") is None and row.get(name) is not None:
                points.setdefault(row["seed"], []).append((float(row["l0"]), float(row[name])))
        return {seed: curve for seed, found in points.items() if (curve := curve_of(found))}

    fvu = {seed: [(l0, value) for l0, value in curve if value > 0] for seed, curve in by_seed("fvu").items()}
    return _Curves({seed: curve for seed, curve in fvu.items() if curve}, by_seed("ce_recovered"))


def _at_level(first: _Curves, second: _Curves, level: float) -> Match:
    landed = [{seed for seed, curve in one.fvu.items() if _lands(curve, level)} for one in (first, second)]
    reach = {seed: _overlap(first.fvu[seed], second.fvu[seed]) for seed in sorted(landed[0] & landed[1])}
    reach = {seed: (low, high) for seed, (low, high) in reach.items() if low <= high}
    low, high = (max(low for low, _ in reach.values()), min(high for _, high in reach.values())) if reach else (math.inf, 0.0)
    if low > high:
        missing = "their curves share no L0 there" if landed[0] and landed[1] else "no pair of runs landed near it"
        return Match(level, (level, level), {}, {}, f"{missing} (its own runs: {second.reach}; the other's: {first.reach})")
    at = min(max(level, low), high)
    places = dict.fromkeys(reach, at)
    return Match(level, (at, at), _log_differences(first, second, places), _ce(first, second, places))


def _at_points(first: _Curves, second: _Curves, lone: int) -> Match:
    """Compares at the L0s of the design that was trained as written, each seed's own."""
    places = {seed: curve[0][0] for seed, curve in (first, second)[lone].fvu.items()}
    found = _log_differences(first, second, places)
    if not found:
        at = (min(places.values()), max(places.values())) if places else (0.0, 0.0)
        what = f"they share no L0 (its own: {second.reach}; the other: {first.reach}); ask for L0s on both sides (--l0)"
        return Match(None, at, {}, {}, what if places else "none of its runs could be measured")
    used = [places[seed] for seed in found]
    return Match(None, (min(used), max(used)), found, _ce(first, second, {seed: places[seed] for seed in found}))


def _lands(curve: list[Point], level: float) -> bool:
    return any(level / NEAR <= l0 <= level * NEAR for l0, _ in curve)


def _overlap(first: list[Point], second: list[Point]) -> tuple[float, float]:
    return max(first[0][0], second[0][0]), min(first[-1][0], second[-1][0])


def _log_differences(first: _Curves, second: _Curves, places: Mapping[int, float]) -> dict[int, float]:
    found = {seed: _log_difference(first.fvu.get(seed, []), second.fvu.get(seed, []), l0) for seed, l0 in places.items()}
    return {seed: difference for seed, difference in found.items() if difference is not None}


def _log_difference(first: list[Point], second: list[Point], l0: float) -> float | None:
    """Returns the second's log value minus the first's at one L0, the bend they share taken out; None outside either."""
    if pair := Pair.of(second, first):
        return pair.at(l0)
    read = [at_l0(curve, l0) for curve in (first, second)]  # one of them is a single point, where the other is read
    return math.log(read[1] / read[0]) if read[0] is not None and read[1] is not None else None


def _ce(first: _Curves, second: _Curves, places: Mapping[int, float]) -> dict[int, float]:
    found = {}
    for seed, l0 in places.items():
        pair = [at_l0(curves.ce.get(seed, []), l0, linear=True) for curves in (first, second)]
        if pair[0] is not None and pair[1] is not None:
            found[seed] = pair[1] - pair[0]
    return found
