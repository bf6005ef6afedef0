"""What a study found, in sentences."""

from __future__ import annotations

from archsearch.reporting.confirmation import headlines
from archsearch.reporting.live import counted
from archsearch.reporting.picture import number
from archsearch.reporting.report.bands import BandResult, Place
from archsearch.reporting.report.data import Report
from archsearch.reporting.table import cut_words, tally

_LEVEL = 0.05
"""Percent of FVU below which two SAEs are called level: what one decimal cannot show."""


def confirmed_sentences(report: Report) -> list[str]:
    """Returns what the confirmation found, first of all: a sentence a candidate; nothing where there was none."""
    return headlines(report.confirmed) if report.confirmed else []


def told_sentences(report: Report) -> list[str]:
    """Returns all the confirmation says of itself."""
    return [str(sentence).strip() for sentence in (report.confirmed or {}).get("summary", [])]


def found_sentences(report: Report) -> list[str]:
    """Returns what the search found: the best family in each band of L0 against the best baseline, then who holds the front."""
    if not report.front:
        low, high = report.record.band
        return [f"No finished trial lies in the band (L0 {number(low)} to {number(high)}): {tally(report.record)}."]
    members = sum(row.baseline is None for row in report.front)
    share = f"Of {counted(len(report.front), 'front member')}, {members} come from the search" if report.curves else ""
    left = f" and {len(report.front) - members} are baselines." if report.curves else ""
    return [*[_band(result, bool(report.curves)) for result in report.bands], *([share + left] if share else []), *cut_words(report.front)]


def caution(report: Report) -> str:
    """Returns how far the numbers of the search may be trusted."""
    seeds = "one seed" if report.seeds <= 1 else f"{report.seeds} seeds in all, not the same for every structure"
    text = f"Each SAE of the search was trained once ({seeds}), and the validate rows it is judged by are those it was selected on"
    if report.confirmed:
        return f"{text}: where the two disagree, believe the confirmation, not the search."
    return f"{text}: the best of many looks better than it is. Confirm before believing (`archsearch confirm {report.study}`)."


def band_name(low: float, high: float) -> str:
    """Returns a band as it is written everywhere."""
    return f"L0 {number(low)} to {number(high)}"


def _band(result: BandResult, baselines: bool) -> str:
    head = f"{band_name(*result.band)}:"
    if not result.tried:
        return f"{head} no SAE of the search ended here."
    if not result.best:
        lowest = min(result.alone, key=lambda trial: trial.measurements["fvu"])
        why = "beyond every baseline's curve; " if baselines else ""
        at = f"FVU {lowest.measurements['fvu']:.4f} at L0 {lowest.measurements['l0']:.1f} (trial {lowest.number})"
        return f"{head} {counted(result.tried, 'SAE')} of the search, {why}the lowest reaches {at}."
    first = result.best[0]
    against = f"{first.versus.baseline}, the best baseline there ({_numbers(first)})"
    if first.versus.percent <= -_LEVEL:
        said = f"{first.family} comes lowest, {-first.versus.percent:.1f}% lower FVU than {against}"
    elif first.versus.percent < _LEVEL:
        said = f"{first.family} is level with {against}"
    else:
        said = (
            f"the search does not beat the baselines; {first.family} comes nearest, {first.versus.percent:.1f}% higher FVU than {against}"
        )
    return f"{head} {said}{_next(result)}."


def _numbers(place: Place) -> str:
    found = place.trial.measurements
    return f"{found['fvu']:.4f} against {place.versus.fvu:.4f} at L0 {found['l0']:.1f}, trial {place.trial.number}"


def _next(result: BandResult) -> str:
    second = f"; next {result.best[1].family}, {signed(result.best[1].versus.percent)}" if len(result.best) > 1 else ""
    beyond = f"; {counted(len(result.alone), 'SAE')} more where no baseline reaches" if result.alone else ""
    return second + beyond


def signed(percent: float) -> str:
    """Returns a difference in percent with its sign, one decimal; one that rounds to nothing has none."""
    text = f"{percent:+.1f}%"
    return "0.0%" if text in ("+0.0%", "-0.0%") else text
