"""From paired differences to a verdict in words: better, worse, no difference found, or not comparable.

A difference is that of log FVU, the candidate's minus the baseline's, one a seed: percent = 100 (exp(mean) - 1), below zero is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from archsearch.evaluation.intervals import Interval, holm, paired

BETTER, WORSE, UNDECIDED, INCOMPARABLE = "better", "worse", "no difference found", "not comparable"
MIXED = "mixed"

LARGEST = 20.0
"""Difference of log FVU above which the percentage is not told any larger; two seeds that disagree give intervals without end."""


@dataclass(frozen=True)
class Question:
    """Has `candidate` another FVU than `baseline`, at effective L0s of `band` (lowest, highest; equal for one L0)?

    `differences`: of log FVU, one a seed; `why`: where there are none, the reason.
    """

    candidate: str
    baseline: str
    band: tuple[float, float]
    differences: tuple[float, ...]
    why: str = "no seed of theirs reaches an L0 in common"


@dataclass(frozen=True)
class Verdict:
    """The answer to a question.

    `percent`: difference in FVU (below zero: the candidate is better), None where there is nothing to compare; `low`, `high`: its interval
    in percent, None on one seed; `p`, `p_holm`: two-sided, and adjusted for the questions judged together; `seeds`: pairs (count);
    `verdict`: one of the four; `sentence`: all of it in words.
    """

    candidate: str
    baseline: str
    band: tuple[float, float]
    percent: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    seeds: int
    verdict: str
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the verdict as plain data."""
        return {**asdict(self), "band": list(self.band)}


def judged(questions: Sequence[Question], confidence: float = 0.95) -> list[Verdict]:
    """Returns a verdict for each question; p values are adjusted together (Holm), intervals are each question's own.

    A difference is found where its adjusted p is at most `1 - confidence`.
    """
    found = [paired(question.differences, confidence) if question.differences else None for question in questions]
    asked = [index for index, interval in enumerate(found) if interval is not None and interval.count > 1]
    adjusted = dict(zip(asked, holm([interval.p for interval in found if interval is not None and interval.count > 1]), strict=True))
    verdicts = []
    for index, (question, interval) in enumerate(zip(questions, found, strict=True)):
        if interval is None:
            verdicts.append(_unanswered(question))
        elif index not in adjusted:
            verdicts.append(_on_one_seed(question, interval))
        else:
            verdicts.append(_answered(question, interval, adjusted[index], len(asked), confidence))
    return verdicts


def summed_up(whole: Verdict, levels: Sequence[Verdict]) -> Verdict:
    """Returns the verdict over a range of L0 in the light of those at single L0s in it, which may point both ways or say more."""
    better, worse = ([verdict for verdict in levels if verdict.verdict == word] for word in (BETTER, WORSE))
    if better and worse:
        parts = [f"{name} at {_places(group)}" for name, group in ((BETTER, better), (WORSE, worse))]
        return replace(whole, verdict=MIXED, sentence=f"{whole.candidate} against {whole.baseline}: {' and '.join(parts)}: mixed")
    told = [f"{word} at {_places(group)}" for word, group in ((BETTER, better), (WORSE, worse)) if group]
    if whole.verdict in (UNDECIDED, INCOMPARABLE) and told:
        return replace(whole, sentence=f"{whole.sentence}; {told[0]}")
    return whole


def band_words(band: tuple[float, float]) -> str:
    """Returns one or two effective L0s in words: `L0 16`, `L0 8 to 32`."""
    low, high = (l0_words(edge) for edge in band)
    return f"L0 {low}" if low == high else f"L0 {low} to {high}"


def l0_words(l0: float) -> str:
    """Returns an effective L0 to one decimal, none where it is whole."""
    return f"{l0:.1f}".removesuffix(".0")


def _places(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(f"{band_words(verdict.band)} ({_amount(verdict.percent or 0.0)} FVU)" for verdict in verdicts)


def _answered(question: Question, interval: Interval, adjusted: float, together: int, confidence: float) -> Verdict:
    found = adjusted <= 1 - confidence
    verdict = UNDECIDED if not found else BETTER if interval.mean < 0 else WORSE
    mean, low, high = (_percent(value) for value in (interval.mean, interval.low, interval.high))
    level = f"{100 * confidence:g}% interval"
    seeds = f"{interval.count} seeds"
    where, (candidate, baseline) = band_words(question.band), (question.candidate, question.baseline)
    if found:
        near, far = sorted((abs(low), abs(high)))
        word = "lower" if mean < 0 else "higher"
        told = f"{_shown(abs(mean))}% {word} FVU than {baseline} at {where} ({level} {_shown(near)} to {_shown(far)}, {seeds})"
        sentence = f"{candidate}: {told}: {verdict}"
    else:
        # Against chance alone, for the whole family: what Holm would let through whatever the other questions came to.
        needed = paired(question.differences, 1 - (1 - confidence) / together)
        told = f"{_amount(mean)} FVU, {level} {_amount(low)} to {_amount(high)}, {seeds}"
        seen = f"a difference of more than {_shown(_percent(needed.high - needed.mean))}% would have been seen"
        if interval.p <= 1 - confidence:
            told = f"{told}; not enough for one of {together} questions asked together"
        sentence = f"{candidate}: no difference from {baseline} found at {where} ({told}); {seen}"
    return Verdict(candidate, baseline, question.band, mean, low, high, interval.p, adjusted, interval.count, verdict, sentence)


def _on_one_seed(question: Question, interval: Interval) -> Verdict:
    mean = _percent(interval.mean)
    told = f"{question.candidate}: {_amount(mean)} FVU than {question.baseline} at {band_words(question.band)} on one seed"
    sentence = f"{told}; no verdict, for one pair does not say how much is chance (two seeds or more do)"
    return Verdict(question.candidate, question.baseline, question.band, mean, None, None, None, None, 1, INCOMPARABLE, sentence)


def _unanswered(question: Question) -> Verdict:
    where = band_words(question.band)
    sentence = f"{question.candidate}: not comparable with {question.baseline} at {where}: {question.why}"
    return Verdict(question.candidate, question.baseline, question.band, None, None, None, None, None, 0, INCOMPARABLE, sentence)


def _percent(difference: float) -> float:
    return 100 * math.expm1(min(difference, LARGEST))


def _shown(percent: float) -> str:
    return f"{percent:.1f}" if percent < 100 else f"{percent:,.0f}"


def _amount(percent: float) -> str:
    """Returns a difference in percent in words: `1.7% lower`."""
    return f"{_shown(abs(percent))}% {'lower' if percent < 0 else 'higher'}"
