"""What both pictures of a study show, worked out once: series of points, colours, limits and captions."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

from archsearch import reporting
from archsearch.reporting.front import baseline_curves, front_trials, point
from archsearch.search.records import StudyRecord, TrialRecord, feasible, standing

INK = "#000000"
PALE = "#999999"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A800", "#882255", "#117733", "#999933", "#6A3D9A")
"""Okabe and Ito's colours for every kind of sight, black kept for the front (their yellow darkened to be read on white); after them, for
studies of many families, dark ones of Tol's."""


@dataclass(frozen=True)
class Series:
    """Trials drawn alike: a baseline's, or those of one family of the search."""

    name: str
    colour: str
    trials: list[TrialRecord]


@dataclass(frozen=True)
class Picture:
    """A study as points in the plane of effective L0 and FVU.

    `curves`: best trials of each baseline; `tried`: all its trials; `inside` and `outside`: trials of the search by family, within and
    beyond the band; `front`: its members; `cut`: points of trials by family or baseline, those of curves and the front among them (they are
    drawn hollow); `family_of`: family (or baseline) and `colour_of`: its colour, by trial number; `xlim`, `ylim`: what is shown;
    `hidden`: measured trials beyond that.
    """

    title: str
    question: str
    band: tuple[float, float]
    curves: list[Series]
    tried: list[Series]
    inside: list[Series]
    outside: list[Series]
    front: list[TrialRecord]
    cut: list[Series]
    family_of: dict[int, str]
    colour_of: dict[int, str]
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    hidden: int


def picture(record: StudyRecord) -> Picture:
    """Returns what to draw of a study; only measured trials with some code on are there at all."""
    measured = [trial for trial in record.trials if _measured(trial)]
    curves, members = baseline_curves(record), front_trials(record)
    family_of = {trial.number: trial.baseline or reporting.family(trial.spec) for trial in measured}
    searched = sorted({family_of[trial.number] for trial in measured if not trial.baseline})
    palette = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys([*curves, *searched]))}
    xlim = (record.band[0] / 2, record.band[1] * 2)
    ylim = _ylim([point(trial) for trials in (members, *curves.values()) for trial in trials], xlim)

    def series(names: list[str], chosen: list[TrialRecord]) -> list[Series]:
        found = [Series(name, palette[name], [t for t in chosen if family_of[t.number] == name]) for name in names]
        return [one for one in found if one.trials]

    search = [trial for trial in measured if not trial.baseline]
    return Picture(
        title=record.name,
        question=record.question,
        band=record.band,
        curves=[Series(name, palette[name], curve) for name, curve in curves.items() if curve],
        tried=series(list(curves), [trial for trial in measured if trial.baseline]),
        inside=series(searched, [trial for trial in search if feasible(trial, record.band)]),
        outside=series(searched, [trial for trial in search if not feasible(trial, record.band)]),
        front=members,
        cut=series(list(palette), [one for one in standing(measured) if one.cut_to is not None and _measured(one)]),
        family_of=family_of,
        colour_of={number: palette[name] for number, name in family_of.items()},
        xlim=xlim,
        ylim=ylim,
        hidden=sum(not _shown(point(trial), xlim, ylim) for trial in measured),
    )


def _measured(trial: TrialRecord) -> bool:
    l0, fvu = (trial.measurements.get(name, math.nan) for name in ("l0", "fvu"))
    return trial.state == "complete" and l0 > 0 and math.isfinite(l0) and math.isfinite(fvu)


def _ylim(points: list[tuple[float, float]], xlim: tuple[float, float]) -> tuple[float, float]:
    """From zero to a little above the worst of what matters: the front and the baselines, not every failure."""
    heights = [fvu for l0, fvu in points if xlim[0] <= l0 <= xlim[1] and fvu > 0]
    return 0.0, 1.15 * max(heights, default=1.0)


def _shown(place: tuple[float, float], xlim: tuple[float, float], ylim: tuple[float, float]) -> bool:
    return xlim[0] <= place[0] <= xlim[1] and ylim[0] <= place[1] <= ylim[1]


def ticks(xlim: tuple[float, float]) -> list[float]:
    """Returns the powers of two inside the limits, for an axis with plain numbers."""
    low, high = math.ceil(math.log2(xlim[0])), math.floor(math.log2(xlim[1]))
    return [2.0**power for power in range(low, high + 1)]


def number(value: float) -> str:
    """Returns a number as people write it: no exponent, no trailing zeros."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def wrapped(text: str, columns: int, lines: int = 2) -> str:
    """Returns text broken into at most `lines` lines, the rest cut with an ellipsis."""
    return "\n".join(textwrap.wrap(" ".join(text.split()), columns, max_lines=lines, placeholder=" ..."))


def note(shown: Picture) -> str:
    """Returns the line under a picture: what is measured, and what it leaves out."""
    text = "held-out rows at inference; lower left is better"
    outside = "1 trial lies" if shown.hidden == 1 else f"{shown.hidden} trials lie"
    return f"{text}; {outside} outside the picture" if shown.hidden else text
