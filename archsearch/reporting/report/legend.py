"""Legends of the plots: buttons with markers, so that a keyboard and a thumb can use them too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from archsearch.reporting.report.data import Report
from archsearch.reporting.report.markup import Html, tag
from archsearch.reporting.report.palette import glyph, style_of


def front_legend(report: Report) -> Html:
    """Returns the legend of the front: a button for each series, that hides and shows it."""
    searched = {report.family_of[t.number] for t in report.record.trials if not t.baseline and t.number in report.family_of}
    entries = []
    for index, name in enumerate(report.names):
        if name in report.curves:
            entries.append((f"baseline:{index}", f"baseline {name}", glyph(index, hollow=True)))
        if name in searched:
            entries.append((f"search:{index}", name, glyph(index)))
    scale = tag("button", "log FVU", type="button", class_="key", aria_pressed="false", data_log="")
    before = [tag("span", Html(_FRONT), " front", class_="key")]
    if any(trial.cut_to is not None for trial in report.picture.front):
        before.append(tag("span", Html(_CUT), " cut after training", class_="key"))
    return _legend("front", entries, before, scale)


def learning_legend(report: Report) -> Html:
    """Returns the legend of the learning curves: a button for each series that has one."""
    shown = [report.by_number[row.trial] for row in report.front] + [trial for curve in report.curves.values() for trial in curve]
    there = {(trial.baseline is None, report.index_of(trial)) for trial in shown if trial.history}
    entries = []
    for index, name in enumerate(report.names):
        if (False, index) in there:
            entries.append((f"baseline:{index}", f"baseline {name}", _line(index, dashed=True)))
        if (True, index) in there:
            entries.append((f"search:{index}", name, _line(index)))
    return _legend("learning", entries)


def confirm_legend(confirmed: dict[str, Any]) -> Html:
    """Returns the legend of the confirmation: a button for each contender."""
    named = [f"{'baseline ' if one.get('baseline') else ''}{one['name']}" for one in confirmed["contenders"]]
    hollow = [bool(one.get("baseline")) for one in confirmed["contenders"]]
    return _legend("confirm", [(f"contender:{i}", name, glyph(i, hollow[i])) for i, name in enumerate(named)])


_NOTHING = Html()
_FRONT = '<svg class="glyph wide" viewBox="0 0 24 12" aria-hidden="true"><path d="M0 2H10V9H24" class="frontline"/></svg>'
_CUT = '<svg class="glyph" viewBox="-1 -1 14 14" aria-hidden="true"><circle cx="6" cy="6" r="5" class="cut"/></svg>'


def _line(index: int, dashed: bool = False) -> str:
    style = f"stroke:var(--s{style_of(index)[0]});stroke-width:2.4;fill:none{';stroke-dasharray:4 3' if dashed else ''}"
    return f'<svg class="glyph wide" viewBox="0 0 24 12" aria-hidden="true"><path d="M0 6H24" style="{style}"/></svg>'


def _legend(figure: str, entries: Iterable[tuple[str, str, str]], before: Sequence[Html] = (), last: Html = _NOTHING) -> Html:
    buttons = [
        tag("button", Html(mark), " ", name, type="button", class_="key", aria_pressed="true", data_figure_of=figure, data_series=key)
        for key, name, mark in entries
    ]
    return tag("div", *before, *buttons, last, class_="legend", role="group", aria_label="Series of the plot; press one to hide or show it")
