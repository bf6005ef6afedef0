"""The plots of a report as files to publish: PNG and SVG, readable in a column of text, no global state."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from archsearch.reporting.axes import l0_axis
from archsearch.reporting.front import point
from archsearch.reporting.picture import number, wrapped
from archsearch.reporting.report.confirmed import seed_points
from archsearch.reporting.report.data import Report
from archsearch.reporting.report.embed import main_term
from archsearch.reporting.report.palette import LIGHT, SERIES_LIGHT, style_of
from archsearch.reporting.results import write_whole
from archsearch.search.records import TrialRecord, feasible

_INCHES = (6.5, 4.9)
_DPI = 220
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.7,
    "svg.hashsalt": "archsearch",
}
_DASHES = (0, (4, 2))
_MOST = 18
"""Entries a legend has room for."""


def save_figures(report: Report, folder: Path) -> dict[str, Path]:
    """Writes every plot the study has data for as NAME.png and NAME.svg; returns the PNGs by name."""
    made = {"front": front, "hypervolume": volume, "learning": learning, "confirmation": confirmation}
    return {name: path for name, draw in made.items() if (path := _save(report, draw, folder / f"{name}.png")) is not None}


def _save(report: Report, draw: Callable[[Report, Axes], bool], path: Path) -> Path | None:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        if not draw(report, figure.add_subplot()):
            return None
        handles, labels = _entries(figure.axes[0])
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(handles)), frameon=False)
        write_whole(path, lambda partial: figure.savefig(partial, format="png"))
        write_whole(path.with_suffix(".svg"), lambda partial: figure.savefig(partial, format="svg", metadata={"Date": None}))
    return path


def _entries(axes: Axes) -> tuple[list[Any], list[str]]:
    """Returns what the legend of a plot names: its labelled lines and points, each name once, in the order they were drawn."""
    handles, labels = axes.get_legend_handles_labels()
    found = {label: handle for handle, label in zip(handles, labels, strict=True)}
    return list(found.values())[:_MOST], list(found)[:_MOST]


def front(report: Report, axes: Axes) -> bool:
    """Draws the front against the baselines."""
    shown = report.picture
    l0_axis(axes, shown.xlim)
    axes.set_ylim(*shown.ylim)
    axes.set_ylabel("FVU (fraction of variance unexplained)")
    for edge in shown.band:
        axes.axvline(edge, color=LIGHT["muted"], linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
    _members(report, axes)
    for index, name in enumerate(report.names):
        colour, marker = _look(index)
        if curve := report.curves.get(name):
            look = {"marker": marker, "markerfacecolor": "none", "color": colour, "linestyle": _DASHES}
            axes.plot(*_xy(curve), linewidth=1.3, markersize=5.5, zorder=3, label=f"baseline {wrapped(name, 32, 1)}", **look)
        mine = [t for t in report.record.trials if not t.baseline and report.family_of.get(t.number) == name]
        for inside, alpha, size in ((True, 0.55, 22), (False, 0.25, 14)):
            some = [t for t in mine if feasible(t, report.record.band, report.record.objectives) == inside]
            axes.scatter(*_xy(some), s=size, marker=marker, color=colour, alpha=alpha, linewidths=0, zorder=2)
        if mine:
            axes.scatter([], [], s=24, marker=marker, color=colour, label=wrapped(name, 40, 1))
    return bool(report.family_of)


def _members(report: Report, axes: Axes) -> None:
    members = report.picture.front
    if not members:
        return
    x, y = _xy(members)
    axes.plot([*x, report.record.band[1]], [*y, y[-1]], color=LIGHT["ink"], linewidth=1.8, drawstyle="steps-post", zorder=4, label="front")
    for trial in members:
        colour, marker = _look(report.index_of(trial))
        fill, edge = (LIGHT["page"], colour) if trial.baseline else (colour, LIGHT["ink"])
        fill, edge = (fill, edge) if trial.cut_to is None else (LIGHT["page"], LIGHT["ink"])
        axes.scatter(*point(trial), s=42, marker=marker, color=fill, edgecolors=edge, linewidths=1.3, zorder=5)
    if any(trial.cut_to is not None for trial in members):
        label = "white, black edge: cut after training"
        axes.scatter([], [], s=42, marker="o", color=LIGHT["page"], edgecolors=LIGHT["ink"], linewidths=1.3, label=label)


def volume(report: Report, axes: Axes) -> bool:
    """Draws the hypervolume over the tokens trained on."""
    found = report.volume
    axes.step([tokens / 1e6 for tokens in found.tokens], found.reached, where="post", color=LIGHT["ink"], linewidth=1.8, label="study")
    axes.set_xlabel("tokens trained on, all SAEs together (millions)")
    axes.set_ylabel("hypervolume (octaves of L0 x FVU)")
    late = [value for value in found.reached[len(found.reached) // 20 :] if value > 0]
    if found.baselines is not None:
        axes.axhline(found.baselines, color=LIGHT["accent"], linestyle=_DASHES, linewidth=1.3, label="baselines alone")
        axes.axvline(found.baseline_tokens / 1e6, color=LIGHT["muted"], linestyle=(0, (1, 2)), linewidth=1.0, label="baselines done")
        late.append(found.baselines)
    if late:
        room = max((max(late) - min(late)) * 0.08, 1e-4)
        axes.set_ylim(min(late) - room, max(late) + room)
    return bool(found.tokens)


def learning(report: Report, axes: Axes) -> bool:
    """Draws the learning curves of the front and of the baselines' best."""
    numbers = [row.trial for row in report.front] + [trial.number for curve in report.curves.values() for trial in curve]
    drawn = False
    for number_ in dict.fromkeys(numbers):
        trial = report.by_number[number_]
        term, batch = main_term(trial), int((trial.spec.get("training") or {}).get("batch") or 1)
        if term is None:
            continue
        places = [(step * batch / 1e6, found[term]) for step, found in trial.history if math.isfinite(found.get(term, math.nan))]
        colour, _ = _look(report.index_of(trial))
        label = f"baseline {trial.baseline}" if trial.baseline else report.family_of[trial.number]
        x, y = [x for x, _ in places], [y for _, y in places]
        axes.plot(x, y, color=colour, linestyle=_DASHES if trial.baseline else "-", linewidth=1.0, alpha=0.75, label=wrapped(label, 40, 1))
        drawn = True
    _log_axis(axes)
    axes.set_xlabel("tokens trained on (millions)")
    axes.set_ylabel("reconstruction loss (log scale)")
    return drawn


def confirmation(report: Report, axes: Axes) -> bool:
    """Draws where every seed of the confirmation came to stand."""
    drawn: list[float] = []
    for index, contender in enumerate((report.confirmed or {}).get("contenders", [])):
        colour, marker = _look(index)
        baseline = bool(contender.get("baseline"))
        label = f"{'baseline ' if baseline else ''}{wrapped(str(contender['name']), 36, 1)}"
        for points in seed_points(contender).values():
            style = {"color": colour, "marker": marker, "linestyle": _DASHES if baseline else "-", "linewidth": 0.9, "markersize": 4.5}
            x, y = [p[0] for p in points], [p[1] for p in points]
            axes.plot(x, y, alpha=0.75, label=label, markerfacecolor="none" if baseline else colour, **style)
            drawn += x
    if not drawn:
        return False
    l0_axis(axes, (min(drawn) / 1.2, max(drawn) * 1.2))
    _log_axis(axes)
    axes.set_ylabel("FVU (log scale)")
    return True


def _log_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_minor_locator(NullLocator())


def _look(index: int) -> tuple[str, str]:
    colour, _, marker = style_of(index)
    return SERIES_LIGHT[colour], marker


def _xy(trials: list[TrialRecord]) -> tuple[list[float], list[float]]:
    points = [point(trial) for trial in trials]
    return [x for x, _ in points], [y for _, y in points]
