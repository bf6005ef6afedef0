"""Judges trained repeats: candidates against baselines, band by band of L0, in pairs of seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any

from archsearch.evaluation.bends import Pair
from archsearch.evaluation.curves import Point, curve_of
from archsearch.evaluation.hypervolume import hypervolume
from archsearch.evaluation.intervals import Interval, paired
from archsearch.evaluation.verdicts import BETTER, INCOMPARABLE, WORSE, Question, Verdict, band_words, judged

Row = Mapping[str, Any]
"""One run: `seed`, `level`, and `l0` and `fvu`, or `failure`."""

Band = tuple[float, float]

COVERED = 0.5
"""Least share of a band, in log L0, that two curves must have in common to be compared there."""


APART = 0.2
"""Octaves between the L0s two designs were measured at from which on all of the allowance is made; at the same L0s none is."""

ALLOWED = (2.0, 0.01)
"""What two equal designs may seem to differ by in log FVU where they are `APART` or more: a factor of the doubt, and a number."""

LEAST = 1.001
"""How wide, as a factor of L0, a range must be for a mean over it to be taken."""

NEAR = 1.1
"""How far from an L0, as a factor, one may be read in its place."""


@dataclass(frozen=True)
class Curves:
    """What one contender came to: a curve of FVU for each seed, and where a failed run has left a gap in it."""

    name: str
    baseline: bool
    by_seed: dict[int, list[Point]]
    gaps: dict[int, list[Band]] = field(default_factory=dict)

    @staticmethod
    def of(name: str, baseline: bool, rows: Iterable[Row]) -> Curves:
        """Returns the curves of a contender's rows; of a level that failed with every seed nothing is known, so it leaves no gap."""
        rows = list(rows)
        at: dict[int, list[float]] = {}
        for row in rows:
            if _measured(row):
                at.setdefault(row["level"], []).append(row["l0"])
        places = sorted((median(values), level) for level, values in at.items())
        around = {level: (places[max(i - 1, 0)][0], places[min(i + 1, len(places) - 1)][0]) for i, (_, level) in enumerate(places)}
        by_seed: dict[int, list[Point]] = {}
        gaps: dict[int, list[Band]] = {}
        for seed in dict.fromkeys(row["seed"] for row in rows):
            mine = [row for row in rows if row["seed"] == seed]
            by_seed[seed] = curve_of((row["l0"], row["fvu"]) for row in mine if _measured(row))
            gaps[seed] = [around[row["level"]] for row in mine if not _measured(row) and row["level"] in around]
        return Curves(name, baseline, by_seed, gaps)

    def whole(self, band: Band) -> set[int]:
        """Returns the seeds whose curve has no gap in a band."""
        return {seed for seed in self.by_seed if not any(low < band[1] and high > band[0] for low, high in self.gaps.get(seed, ()))}

    def reach(self, seeds: Iterable[int]) -> Band | None:
        """Returns the L0s that the curves of all `seeds` cover; None where there are none."""
        curves = [self.by_seed[seed] for seed in seeds]
        if not curves or not all(curves):
            return None
        return max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)


@dataclass(frozen=True)
class Judgement:
    """What the repeats say.

    `bands`: where contenders were compared; `verdicts`: of every candidate and baseline in every band, judged together; `areas`: over all
    the L0s two have in common, as estimates, for which no verdict is given; `gains`: hypervolume each candidate adds to that of the
    baselines' joint front, never below zero, so that it says how much and not whether; `joint`: that of the baselines, mean over seeds.
    """

    bands: list[Band]
    verdicts: list[Verdict]
    areas: list[dict[str, Any]]
    gains: dict[str, Interval]
    joint: float


def judge(contenders: Sequence[Curves], band: Band) -> Judgement:
    """Compares every candidate with every baseline inside the study's `band` of L0."""
    candidates, baselines = ([one for one in contenders if one.baseline is kind] for kind in (False, True))
    matches = [Match.of(candidate, baseline) for candidate in candidates for baseline in baselines]
    asked = {part: [_question(match, part) for match in matches] for part in octaves(band)}
    bands = [part for part, questions in asked.items() if any(question.differences for question in questions)]
    questions = [asked[part][index] for index in range(len(matches)) for part in bands]
    areas = [told for match in matches if (told := _whole(match)) is not None]
    gains, joint = _gains(candidates, baselines, band)
    asked_of = [(match, part) for match in matches for part in bands]
    verdicts = [_allowed(verdict, match, part) for verdict, (match, part) in zip(judged(questions), asked_of, strict=True)]
    return Judgement(bands, verdicts, areas, gains, joint)


def _allowed(verdict: Verdict, match: Match, band: Band) -> Verdict:
    """Takes back a difference that is found, if two equal designs could seem to differ by as much at the L0s these were measured at.

    This comes after all verdicts are adjusted together, so that it can only take away.
    """
    if verdict.verdict not in (BETTER, WORSE):
        return verdict
    allowance = match.allowance(band)
    if abs(math.log1p((verdict.percent or 0.0) / 100)) > allowance:
        return verdict
    size = "any difference" if math.isinf(allowance) else f"{100 * math.expm1(allowance):.1f}%"
    why = f"they were measured at other L0s, and how curves are drawn between these may make {size} of FVU"
    advice = "a sweep over the same L0s for all would tell (`sweep: {l0: [...]}`)"
    sentence = f"{verdict.candidate}: not comparable with {verdict.baseline} at {band_words(verdict.band)}: {why}; {advice}"
    return replace(verdict, verdict=INCOMPARABLE, sentence=sentence)


def octaves(band: Band) -> list[Band]:
    """Returns the bands between consecutive powers of two inside `band`; at its edges what is left of one, if that is half or more.

    A band too narrow for any is one itself.
    """
    first, last = math.floor(math.log2(band[0])), math.ceil(math.log2(band[1]))
    cut = [(max(2.0**place, band[0]), min(2.0 ** (place + 1), band[1])) for place in range(first, last)]
    return [part for part in cut if math.log2(part[1] / part[0]) >= COVERED] or [band]


@dataclass(frozen=True)
class Match:
    """A candidate and a baseline, their curves paired by seed."""

    candidate: Curves
    baseline: Curves
    pairs: dict[int, Pair]

    @staticmethod
    def of(candidate: Curves, baseline: Curves) -> Match:
        """Pairs the curves of the seeds that both have."""
        found = {seed: Pair.of(curve, baseline.by_seed.get(seed, ())) for seed, curve in candidate.by_seed.items()}
        return Match(candidate, baseline, {seed: pair for seed, pair in found.items() if pair is not None})

    def differences(self, band: Band) -> tuple[Band, tuple[float, ...]] | None:
        """Returns the part of a band that both cover with every seed, and there the mean differences of log FVU; None without one.

        A seed of which a run in that band failed is left out, and the part is the same for all others.
        """
        whole = self.candidate.whole(band) & self.baseline.whole(band)
        pairs = [pair for seed, pair in self.pairs.items() if seed in whole]
        if not pairs or len(pairs) < len(whole):
            return None
        low, high = max(band[0], *(pair.low for pair in pairs)), min(band[1], *(pair.high for pair in pairs))
        told = [pair.mean(low, high) for pair in pairs] if high >= low * LEAST else []
        values = tuple(value for value in told if value is not None)
        return ((low, high), values) if values else None

    def allowance(self, band: Band) -> float:
        """Returns what two equal designs, measured at these L0s, may seem to differ by in log FVU, since curves are drawn between points.

        Its size is such that equal designs with bent curves are hardly ever told apart (benchmarks/false_positives).
        """
        found = self.differences(band)
        if found is None:
            return 0.0
        whole = self.candidate.whole(band) & self.baseline.whole(band)
        pairs = [pair for seed, pair in self.pairs.items() if seed in whole]
        apart = fmean(pair.apart(*found[0]) for pair in pairs) / APART
        if apart > 1 and min(len(curve) for pair in pairs for curve in pair.curves) < 3:
            return math.inf
        return min(apart, 1.0) * (ALLOWED[0] * fmean(pair.doubt(*found[0]) for pair in pairs) + ALLOWED[1])


def _question(match: Match, band: Band) -> Question:
    names, found = (match.candidate.name, match.baseline.name), match.differences(band)
    if found is None:
        return Question(*names, band, (), _why_not(match.candidate, match.baseline, band))
    (low, high), values = found
    if math.log(high / low) < COVERED * math.log(band[1] / band[0]) - 1e-9:
        return Question(*names, band, (), f"with all seeds both reach only {band_words((low, high))}, less than half of it")
    return Question(*names, band, values)


def _why_not(candidate: Curves, baseline: Curves, band: Band) -> str:
    for one in (candidate, baseline):
        seeds = one.whole(band)
        if not seeds:
            return f"runs of {one.name} failed there with every seed"
        reach = one.reach(seeds)
        if reach is None or not max(reach[0], band[0]) < min(reach[1], band[1]):
            return f"{one.name} does not reach it with all seeds"
    return "no seed of theirs reaches an L0 in common"


def _whole(match: Match) -> dict[str, Any] | None:
    """Returns the difference over all the L0s two contenders have in common, None where these are none."""
    found = match.differences((0.0, math.inf))
    if found is None:
        return None
    (low, high), values = found
    told = paired(values)
    percent = {name: 100 * math.expm1(value) if math.isfinite(value := getattr(told, name)) else None for name in ("mean", "low", "high")}
    names = {"candidate": match.candidate.name, "baseline": match.baseline.name}
    return {**names, "range": [low, high], "percent": percent.pop("mean"), **percent, "seeds": told.count}


def _gains(candidates: Sequence[Curves], baselines: Sequence[Curves], band: Band) -> tuple[dict[str, Interval], float]:
    """Returns what each candidate adds to the hypervolume of the baselines' joint front, over seeds of which no run failed."""
    full = [one.whole((0.0, math.inf)) for one in baselines]
    seeds = set.intersection(*full) if full else set()
    joint = {seed: [point for one in baselines for point in one.by_seed[seed]] for seed in sorted(seeds)}
    before = {seed: hypervolume(points, band) for seed, points in joint.items()}
    gains: dict[str, Interval] = {}
    for one in candidates:
        shared = [seed for seed in joint if seed in one.whole((0.0, math.inf)) and one.by_seed[seed]]
        added = [hypervolume([*joint[seed], *one.by_seed[seed]], band) - before[seed] for seed in shared]
        if added:
            gains[one.name] = paired(added)
    return gains, sum(before.values()) / len(before) if before else math.nan


def below_best(candidate: Curves, baselines: Sequence[Curves], l0: float) -> tuple[float, Interval] | None:
    """Returns the L0 nearest to `l0` that all reach with every seed, and there the difference of log FVU to the best baseline.

    So what a search showed at one L0 can be asked of fresh seeds. None where the nearest is more than `NEAR` away.
    """
    seeds = sorted(set.intersection(*[one.whole((0.0, math.inf)) for one in (candidate, *baselines)]))
    found = {seed: [Pair.of(candidate.by_seed[seed], one.by_seed[seed]) for one in baselines] for seed in seeds}
    pairs = [pair for each in found.values() for pair in each if pair is not None]
    if not pairs or len(pairs) < len(seeds) * len(baselines):
        return None
    low, high = max(pair.low for pair in pairs), min(pair.high for pair in pairs)
    place = min(max(l0, low), high)
    if low > high or abs(math.log(place / l0)) > math.log(NEAR):
        return None
    told = [max(value for pair in each if pair and (value := pair.at(place)) is not None) for each in found.values()]
    return place, paired(told)


def _measured(row: Row) -> bool:
    numbers = (row.get("l0"), row.get("fvu"))
    return not row.get("failure") and all(value is not None and 0 < value < math.inf for value in numbers)


def adjacent(bands: Sequence[Band]) -> list[Band]:
    """Returns bands that touch joined into one: 8 to 16 and 16 to 32 as 8 to 32."""
    found: list[Band] = []
    for low, high in sorted(bands):
        if found and found[-1][1] == low:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found
