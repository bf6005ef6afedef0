"""Designs compared with a reference: at every L0, over all of them, and in CE recovered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archsearch.evaluation.intervals import Interval, paired
from archsearch.evaluation.matching import Match, Row, in_common, matched, over
from archsearch.evaluation.verdicts import BETTER, WORSE, Question, Verdict, judged, summed_up


@dataclass(frozen=True)
class Level:
    """A pair at one L0; `ce`: difference of CE recovered (above zero: the other is better), None where nobody measured it."""

    match: Match
    verdict: Verdict
    ce: Interval | None


@dataclass(frozen=True)
class Pair:
    """One design beside the reference.

    `overall`: verdict over the L0s in common; `ce`: difference of CE recovered over the same; `levels`: each L0 by itself; `remark`: where
    CE recovered points the other way than FVU, in a sentence.
    """

    reference: str
    other: str
    overall: Verdict
    ce: Interval | None
    levels: tuple[Level, ...]
    remark: str = ""


def pairs(rows: Mapping[str, Sequence[Row]], levels: Sequence[float], confidence: float = 0.95) -> list[Pair]:
    """Returns the comparison of each design with the first named.

    Verdicts over all L0s are adjusted for the number of pairs; those at single L0s for the number of pairs times L0s. Intervals, and
    everything about CE recovered, are not adjusted.
    """
    reference, *others = rows
    matches = {other: matched(rows[reference], rows[other], levels) for other in others}
    overall = judged([_overall(reference, other, found) for other, found in matches.items()], confidence)
    questions = [_question(reference, other, [match]) for other, found in matches.items() for match in found]
    single = iter(judged(questions, confidence))
    found = []
    for whole, (other, compared) in zip(overall, matches.items(), strict=True):
        told = [Level(match, next(single), _interval(match.ce, confidence)) for match in compared]
        ce = _interval(over(in_common(compared), "ce"), confidence)
        verdict = summed_up(whole, [level.verdict for level in told]) if len(told) > 1 else whole
        found.append(Pair(reference, other, verdict, ce, tuple(told), _remark(verdict, ce)))
    return found


def _overall(reference: str, other: str, matches: list[Match]) -> Question:
    common = in_common(matches)
    return _question(reference, other, common or matches, over(common))


def _question(reference: str, other: str, matches: Sequence[Match], differences: Mapping[int, float] | None = None) -> Question:
    edges = [edge for match in matches for edge in match.at]
    told = matches[0].fvu if differences is None else differences
    why = "; ".join(dict.fromkeys(match.why for match in matches if match.why))
    return Question(other, reference, (min(edges), max(edges)), tuple(told.values()), why)


def _interval(differences: Mapping[int, float], confidence: float) -> Interval | None:
    return paired(list(differences.values()), confidence) if differences else None


def _remark(verdict: Verdict, ce: Interval | None) -> str:
    if ce is None or not math.isfinite(ce.low) or ce.low <= 0 <= ce.high:
        return ""
    if (ce.mean < 0 and verdict.verdict == BETTER) or (ce.mean > 0 and verdict.verdict == WORSE):
        way = "less" if ce.mean < 0 else "more"
        near, far = sorted((abs(ce.low), abs(ce.high)))
        return f"yet {verdict.candidate} recovers {abs(ce.mean):.4f} {way} of the cross-entropy (95% interval {near:.4f} to {far:.4f})"
    return ""
