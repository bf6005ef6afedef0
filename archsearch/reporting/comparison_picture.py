"""A comparison as a picture: each SAE's curve with a point a seed, and its difference from the reference with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from archsearch.evaluation.curves import Point, at_l0, curve_of
from archsearch.reporting.axes import l0_axis
from archsearch.reporting.picture import COLOURS, INK, PALE, number, wrapped
from archsearch.search.comparison import Comparison
from archsearch.search.replicates import Row

PIXELS = (1600, 800)
_DPI = 160
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_ERRORS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


def save_comparison(found: Comparison, path: Path) -> None:
    """Draws a comparison, 1600 x 800 pixels."""
    figure = Figure(figsize=(PIXELS[0] / _DPI, PIXELS[1] / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    curves, differences = figure.add_axes((0.07, 0.145, 0.5, 0.695)), figure.add_axes((0.66, 0.145, 0.33, 0.695))
    style = {name: (COLOURS[index % len(COLOURS)], _MARKERS[index % len(_MARKERS)]) for index, name in enumerate(found.rows)}
    limits = _limits(found)
    _curves(curves, found.rows, style)
    _differences(differences, found, style)
    for axes in (curves, differences):
        _frame(axes, limits)
    curves.set_ylabel("FVU (fraction of variance unexplained)")
    reference = wrapped(found.plan.entries[0].name, 30, 1)
    differences.set_ylabel(f"FVU against {reference}, percent", parse_math=False)
    for name, x, text in (("left", 0.07, "FVU at inference, a point a run"), ("right", 0.66, "difference, 95% interval over seeds")):
        figure.text(x, 0.9, text, fontsize=9, color="#333333", va="top", gid=name)
    names = [entry.name for entry in found.plan.entries]
    title = wrapped(f"{', '.join(names[1:])} against {names[0]}", 90, 1)
    figure.text(0.07, 0.965, title, fontsize=13, fontweight="bold", va="top", parse_math=False)
    told = f"{found.plan.entries[0].tokens:,} tokens, {len(found.plan.seeds)} seeds, validate rows; lower is better in both"
    figure.text(0.99, 0.02, told, fontsize=8, ha="right", color="#666666")
    figure.savefig(path, format="png")


def _limits(found: Comparison) -> tuple[float, float]:
    places = [row["l0"] for rows in found.rows.values() for row in rows if row.get("l0", 0) > 0] or list(found.plan.levels)
    return min(places) / 1.25, max(places) * 1.25


def _frame(axes: Axes, limits: tuple[float, float]) -> None:
    l0_axis(axes, limits)
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _curves(axes: Axes, rows: Mapping[str, Sequence[Row]], style: Mapping[str, tuple[str, str]]) -> None:
    """A line through the means of the seeds, and every run as a small point."""
    handles = []
    for name, runs in rows.items():
        colour, marker = style[name]
        by_seed = _by_seed(runs)
        points = [point for curve in by_seed for point in curve]
        axes.scatter(*_xy(points), s=16, color=colour, marker=marker, alpha=0.45, linewidths=0, zorder=2)
        axes.plot(*_xy(_mean(by_seed)), color=colour, linewidth=1.7, zorder=3)
        handles.append(Line2D([], [], color=colour, linewidth=1.7, marker=marker, markersize=5, label=wrapped(name, 40, 1)))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(_ERRORS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    legend = axes.legend(handles=handles, loc="best", fontsize=8.5, framealpha=0.92, edgecolor="#dddddd")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _by_seed(runs: Sequence[Row]) -> list[list[Point]]:
    found = {}
    for row in runs:
        if "failure" not in row and row["fvu"] > 0:
            found.setdefault(row["seed"], []).append((row["l0"], row["fvu"]))
    return [curve for points in found.values() if (curve := curve_of(points))]


def _mean(curves: list[list[Point]]) -> list[Point]:
    """Returns the mean of curves where all of them are, at the places of their points."""
    if not curves:
        return []
    low, high = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    if low > high:  # single points, a little apart
        points = [point for curve in curves for point in curve]
        return [tuple(sum(values) / len(points) for values in zip(*points, strict=True))]  # pyright: ignore[reportReturnType]
    places = sorted({low, high, *[l0 for curve in curves for l0, _ in curve if low < l0 < high]})
    read = [(l0, [value for curve in curves if (value := at_l0(curve, l0)) is not None]) for l0 in places]
    return [(l0, sum(values) / len(values)) for l0, values in read]


def _differences(axes: Axes, found: Comparison, style: Mapping[str, tuple[str, str]]) -> None:
    """The difference of each pair at every L0, with its interval; pairs a little apart so that intervals do not lie on each other."""
    axes.axhline(0.0, color=INK, linewidth=1.0, zorder=2)
    count = len(found.pairs)
    heights = [0.0]
    for index, pair in enumerate(found.pairs):
        colour, marker = style[pair.other]
        aside = 1.03 ** (index - (count - 1) / 2)
        for level in pair.levels:
            verdict = level.verdict
            if verdict.percent is None:
                continue
            x = (level.match.at[0] * level.match.at[1]) ** 0.5 * aside
            heights.append(verdict.percent)
            if verdict.low is not None and verdict.high is not None:
                axes.plot([x, x], [verdict.low, verdict.high], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
                most = 3 * abs(verdict.percent) + 10  # an interval of two seeds that disagree may have no end to speak of
                heights += [min(max(edge, -most), most) for edge in (verdict.low, verdict.high)]
            axes.plot([x], [verdict.percent], color=colour, marker=marker, markersize=6, linestyle="none", zorder=4)
    if len(heights) == 1:
        axes.text(0.5, 0.6, "nothing to compare", transform=axes.transAxes, ha="center", color=PALE)
    low, high = min(heights), max(heights)
    room = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
