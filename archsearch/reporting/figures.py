"""The Pareto picture as a PNG: data in, file out, no global state."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from archsearch.reporting.axes import l0_axis
from archsearch.reporting.front import point
from archsearch.reporting.picture import INK, PALE, Picture, Series, note, picture, wrapped
from archsearch.search.records import StudyRecord, TrialRecord

PIXELS = (1600, 1000)
_DPI = 160
_MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")


def save_png(record: StudyRecord, path: Path) -> None:
    """Draws the front of a study against its baselines, 1600 x 1000 pixels."""
    shown = picture(record)
    figure = Figure(figsize=(PIXELS[0] / _DPI, PIXELS[1] / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.08, 0.125, 0.9, 0.735))
    _frame(figure, axes, shown)
    _trials(axes, shown)
    _points(axes, shown)
    _baselines(axes, shown)
    _front(axes, shown)
    _legend(axes, shown)
    _label_front(canvas, axes, shown)
    figure.savefig(path, format="png")


def _frame(figure: Figure, axes: Axes, shown: Picture) -> None:
    l0_axis(axes, shown.xlim)
    axes.set_ylim(*shown.ylim)
    axes.set_ylabel("FVU (fraction of variance unexplained)")
    axes.grid(color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axvspan(*shown.band, color="#56B4E9", alpha=0.07, linewidth=0, zorder=0)
    for edge in shown.band:
        axes.axvline(edge, color=PALE, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    title = wrapped(shown.title, 80, lines=1)
    figure.text(0.08, 0.965, title, fontsize=14, fontweight="bold", va="top", parse_math=False)
    figure.text(0.08, 0.92, wrapped(shown.question, 110), fontsize=10.5, va="top", color="#333333", parse_math=False)
    figure.text(0.98, 0.018, note(shown), fontsize=8, ha="right", color="#666666")


def _trials(axes: Axes, shown: Picture) -> None:
    """Search trials as pale dots; those outside the band hollow and fainter still."""
    for series in shown.inside:
        axes.scatter(*_xy(series.trials), s=22, color=series.colour, alpha=0.4, linewidths=0, zorder=2)
    for series in shown.outside:
        axes.scatter(*_xy(series.trials), s=18, facecolors="none", edgecolors=series.colour, alpha=0.3, linewidths=0.9, zorder=2)


def _points(axes: Axes, shown: Picture) -> None:
    """Points of trials as small hollow diamonds."""
    look = {"s": 16, "marker": "d", "facecolors": "none", "alpha": 0.5, "linewidths": 0.8, "zorder": 2}
    for series in shown.cut:
        axes.scatter(*_xy(series.trials), edgecolors=series.colour, **look)


def _baselines(axes: Axes, shown: Picture) -> None:
    for series in shown.tried:
        axes.scatter(*_xy(series.trials), s=26, marker=_marker(shown, series), color=series.colour, alpha=0.3, linewidths=0, zorder=2)
    for series in shown.curves:
        style = {"color": series.colour, "linewidth": 1.6, "markersize": 6}
        axes.plot(*_xy(series.trials), marker=_marker(shown, series), linestyle=(0, (5, 2)), zorder=3, **style)
        if cut := [trial for trial in series.trials if trial.cut_to is not None]:
            axes.plot(*_xy(cut), marker=_marker(shown, series), markerfacecolor="white", linestyle="none", zorder=3, **style)


def _marker(shown: Picture, series: Series) -> str:
    names = [one.name for one in shown.tried]
    return _MARKERS[names.index(series.name) % len(_MARKERS)]


def _front(axes: Axes, shown: Picture) -> None:
    if not shown.front:
        return
    x, y = _xy(shown.front)
    # A step, not a slope: between two members nothing better than the left one has been reached. It ends where the band ends.
    axes.plot([*x, shown.band[1]], [*y, y[-1]], color=INK, linewidth=2.2, drawstyle="steps-post", zorder=4)
    colours = [shown.colour_of[trial.number] for trial in shown.front]
    marker_of = {series.name: _marker(shown, series) for series in shown.tried}
    for at, trial, colour in zip(zip(x, y, strict=True), shown.front, colours, strict=True):
        # A member that is a baseline keeps its marker, or the legend would show one that is nowhere in the picture.
        marker = marker_of[trial.baseline] if trial.baseline else "o"
        fill, edge = (colour, INK) if trial.cut_to is None else ("white", colour)
        axes.scatter(*at, s=62, c=[fill], marker=marker, edgecolors=edge, linewidths=1.4, zorder=5)


def _legend(axes: Axes, shown: Picture) -> None:
    handles = [Line2D([], [], color=INK, linewidth=2.2, marker="o", markerfacecolor="white", markersize=7, label="front")]
    for series in shown.curves:
        look = {"color": series.colour, "linestyle": (0, (5, 2)), "marker": _marker(shown, series)}
        handles.append(Line2D([], [], label=f"baseline {wrapped(series.name, 36, 1)}", **look))
    families = {series.name: series.colour for series in [*shown.inside, *shown.outside]}
    for name, colour in sorted(families.items()):
        label = wrapped(name, 44, 1)
        handles.append(Line2D([], [], color=colour, linestyle="none", marker="o", alpha=0.7, label=label))
    if shown.outside:
        handles.append(Line2D([], [], color=PALE, linestyle="none", marker="o", fillstyle="none", label="outside the band"))
    if shown.cut:
        handles.append(Line2D([], [], color=PALE, linestyle="none", marker="d", fillstyle="none", label="hollow: cut after training"))
    axes.legend(handles=handles[:16], loc="upper right", fontsize=8.5, framealpha=0.92, edgecolor="#dddddd")


MOST_LABELS = 14
"""Runs of one family on the front that are named in the picture."""


def _label_front(canvas: FigureCanvasAgg, axes: Axes, shown: Picture) -> None:
    """Writes each family's name once below every run of its members on the front: nothing else can lie below a front."""
    axes.figure.draw_without_rendering()
    inner = axes.get_window_extent(canvas.get_renderer())
    marked = [*shown.front, *[trial for series in shown.curves for trial in series.trials]]
    taken: list[Bbox] = [_around(axes, trial) for trial in marked]
    runs = _runs(shown)
    for run in runs if len(runs) <= MOST_LABELS else []:  # more would hide what they name; colours and the legend say it
        trial = run[len(run) // 2]
        text = wrapped(_named(shown, trial), 44, 1)
        label = axes.annotate(
            text, point(trial), fontsize=9, color="#222222", fontweight="bold", textcoords="offset points",
            xytext=(0, 0), va="top", ha="right", arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.7}, zorder=6,
            path_effects=[withStroke(linewidth=3, foreground="white")], parse_math=False,
        )  # fmt: skip
        _settle(label, canvas, inner, taken)


def _runs(shown: Picture) -> list[list[TrialRecord]]:
    runs: list[list[TrialRecord]] = []
    for trial in shown.front:
        if runs and _named(shown, runs[-1][-1]) == _named(shown, trial):
            runs[-1].append(trial)
        else:
            runs.append([trial])
    return runs


def _named(shown: Picture, trial: TrialRecord) -> str:
    return f"{'baseline ' if trial.baseline else ''}{shown.family_of[trial.number]}"


def _around(axes: Axes, trial: TrialRecord) -> Bbox:
    x, y = axes.transData.transform(point(trial))
    return Bbox.from_extents(x - 9, y - 9, x + 9, y + 9)


def _settle(label: Annotation, canvas: FigureCanvasAgg, inner: Bbox, taken: list[Bbox]) -> None:
    """Moves a label to the first free place below its point, or takes it away where there is none."""
    for down in range(10, 120, 8):
        for ha, right in (("right", -6), ("center", 0), ("left", 6)):
            label.set_ha(ha)
            label.xyann = (right, -down)
            box = _text_box(label, canvas)
            fits = inner.x0 + 4 <= box.x0 and box.x1 <= inner.x1 - 4 and inner.y0 + 4 <= box.y0
            if fits and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                return
    label.remove()


def _text_box(label: Annotation, canvas: FigureCanvasAgg) -> Bbox:
    label.update_positions(canvas.get_renderer())
    return Text.get_window_extent(label, canvas.get_renderer())  # of the words alone, without the line to the point


def _xy(trials: list[TrialRecord]) -> tuple[list[float], list[float]]:
    points = [point(trial) for trial in trials]
    return [x for x, _ in points], [y for _, y in points]
