"""The Pareto picture as one HTML file that opens from disk without a network: plotly's script is inside (about 4.5 MB)."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io

from archsearch.reporting.front import finite, point
from archsearch.reporting.picture import INK, PALE, Picture, Series, note, number, picture, ticks
from archsearch.search.records import StudyRecord, TrialRecord

_SYMBOLS = ("square", "triangle-up", "diamond", "triangle-down", "cross", "x", "triangle-left", "triangle-right")
_MEASURED = ("l0", "fvu", "ce_recovered", "dead_frac")
_HOVER = "%{customdata[0]}<br>%{customdata[1]}<extra>%{customdata[2]}</extra>"


CONFIG = {"displaylogo": False, "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]]}
"""Buttons of the picture; plotly's own choice has one that sends the data to a server."""


def save_page(record: StudyRecord, path: Path) -> None:
    """Writes the front of a study against its baselines as a page; hovering over a point shows its spec and numbers."""
    shown = picture(record)
    figure = go.Figure(data=_traces(shown), layout=_layout(shown))
    body = plotly.io.to_html(figure, include_plotlyjs=True, full_html=False, default_height="100vh", config=CONFIG)
    title = html.escape(f"{shown.title} - archsearch")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    style = "<style>body{margin:0;font-family:sans-serif}</style>"
    path.write_text(f"<!DOCTYPE html>\n<html lang=en><head>{head}{style}</head><body>{body}</body></html>\n", encoding="utf-8")


def _traces(shown: Picture) -> list[go.Scatter]:
    inside = [_dots(series, {"size": 8, "opacity": 0.45}, series.name) for series in shown.inside]
    hollow = {"size": 7, "opacity": 0.35, "symbol": "circle-open"}
    outside = [_dots(series, hollow, "") for series in shown.outside]
    tried = [_dots(series, {"size": 7, "opacity": 0.3, "symbol": _symbol(shown, series)}, "") for series in shown.tried]
    cut = [_dots(series, {"size": 6, "opacity": 0.55, "symbol": "diamond-open"}, "") for series in shown.cut]
    return [*outside, *inside, *tried, *cut, *[_curve(shown, series) for series in shown.curves], *_front(shown)]


def _dots(series: Series, marker: dict[str, Any], name: str) -> go.Scatter:
    look = {"mode": "markers", "marker": {"color": series.colour, **marker}, "showlegend": bool(name)}
    return go.Scatter({**_data(series.trials), **look, "name": html.escape(name)})


def _curve(shown: Picture, series: Series) -> go.Scatter:
    marker = {"size": 9, "symbol": _symbol(shown, series)}
    look = {"mode": "lines+markers", "line": {"color": series.colour, "dash": "dash", "width": 2}, "marker": marker}
    return go.Scatter({**_data(series.trials), **look, "name": html.escape(f"baseline {series.name}")})


def _front(shown: Picture) -> list[go.Scatter]:
    if not shown.front:
        return []
    x, y = zip(*[point(trial) for trial in shown.front], strict=True)
    line = {"color": INK, "width": 3, "shape": "hv"}
    steps = {"x": [*x, shown.band[1]], "y": [*y, y[-1]], "mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False}
    colours = [shown.colour_of[trial.number] for trial in shown.front]
    symbol_of = {series.name: _symbol(shown, series) for series in shown.tried}
    symbols = [symbol_of[trial.baseline] if trial.baseline else "circle" for trial in shown.front]
    cut = [trial.cut_to is not None for trial in shown.front]
    fills = ["white" if hollow else colour for hollow, colour in zip(cut, colours, strict=True)]
    edges = [colour if hollow else INK for hollow, colour in zip(cut, colours, strict=True)]
    marker = {"size": 12, "color": fills, "symbol": symbols, "line": {"color": edges if any(cut) else INK, "width": 2}}
    return [go.Scatter(steps), go.Scatter({**_data(shown.front), "mode": "markers", "marker": marker, "name": "front"})]


def _symbol(shown: Picture, series: Series) -> str:
    return _SYMBOLS[[one.name for one in shown.tried].index(series.name) % len(_SYMBOLS)]


def _data(trials: list[TrialRecord]) -> dict[str, Any]:
    points = [point(trial) for trial in trials]
    shown = [[html.escape(trial.words), _numbers(trial), f"trial {trial.label}"] for trial in trials]
    return {"x": [x for x, _ in points], "y": [y for _, y in points], "customdata": shown, "hovertemplate": _HOVER}


def _numbers(trial: TrialRecord) -> str:
    found = [(name, finite(trial.measurements.get(name))) for name in _MEASURED]
    return "  ".join(f"{name} {number(value)}" for name, value in found if value is not None)


def _layout(shown: Picture) -> dict[str, Any]:
    low, high = shown.xlim
    marks = ticks(shown.xlim)
    edges = {
        "type": "line",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": PALE, "width": 1, "dash": "dot"},
        "layer": "below",
    }
    band = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "fillcolor": "#56B4E9", "opacity": 0.07, "line": {"width": 0}}
    subtitle = {"text": html.escape(shown.question)}
    foot = {"text": note(shown), "xref": "paper", "yref": "paper", "x": 1, "y": -0.09, "showarrow": False, "yanchor": "top"}
    return {
        "template": "plotly_white",
        "title": {"text": f"<b>{html.escape(shown.title)}</b>", "subtitle": subtitle, "x": 0.05},
        "xaxis": {
            "type": "log",
            "range": [math.log10(low), math.log10(high)],
            "tickvals": marks,
            "ticktext": [number(mark) for mark in marks],
            "title": {"text": "effective L0 (latents on per token)"},
        },
        "yaxis": {"range": list(shown.ylim), "title": {"text": "FVU (fraction of variance unexplained)"}},
        "shapes": [{**band, "x0": shown.band[0], "x1": shown.band[1], "layer": "below"}]
        + [{**edges, "x0": edge, "x1": edge} for edge in shown.band],
        "annotations": [{**foot, "font": {"size": 11, "color": "#666666"}}],
        "legend": {"traceorder": "reversed", "x": 1, "y": 1, "xanchor": "right", "yanchor": "top", "bgcolor": "rgba(255,255,255,0.85)"},
        "margin": {"t": 90, "r": 30, "b": 90},
        "hoverlabel": {"align": "left"},
    }
