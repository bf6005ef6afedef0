"""Tables in Markdown of designs at matched L0: what they reach, what they cost, and verdicts in pairs of seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archsearch.evaluation.intervals import paired
from archsearch.evaluation.pairs import pairs

Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]
"""Runs of each design by name."""


def by_design(told: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Returns the runs of a results.json by design, in the order of the file."""
    found: dict[str, list[Row]] = {}
    for row in told["runs"]:
        found.setdefault(row["recipe"], []).append(row)
    return found


def mean(rows: Iterable[Row], field: str) -> float:
    """Returns the mean of a field over runs that have it; NaN where none has."""
    values = [row[field] for row in rows if row.get(field) is not None]
    return sum(values) / len(values) if values else math.nan


def spread(rows: Sequence[Row], field: str, form: str = ".3f") -> str:
    """Returns mean and half of the 95% t interval over seeds as text."""
    values = [float(row[field]) for row in rows if row.get(field) is not None]
    if not values or not all(map(math.isfinite, values)):
        return "-"
    if len(values) == 1:
        return format(values[0], form)
    found = paired(values)
    return f"{found.mean:{form}} +- {(found.high - found.low) / 2:{form}}"


def against(rows: Rows, reference: str, others: Sequence[str], levels: Sequence[float]) -> list[str]:
    """Returns a table of FVU against a reference at each L0 and over all, with intervals and verdicts (Holm over the table's rows)."""
    lines = table_head(["against " + reference, *[f"L0 {level:g}" for level in levels], "over all", "verdict"])
    for pair in pairs({name: rows[name] for name in (reference, *others)}, levels):
        cells = [_percent(level.verdict) for level in pair.levels]
        lines.append(table_row([pair.other, *cells, _percent(pair.overall), pair.overall.verdict]))
    return lines


def table_head(heads: Sequence[str]) -> list[str]:
    """Returns the first two lines of a table; all columns but the first are numbers."""
    return [table_row(heads), "|---|" + "---:|" * (len(heads) - 1)]


def table_row(cells: Iterable[str]) -> str:
    """Returns one line of a table."""
    return "| " + " | ".join(cells) + " |"


def _percent(verdict: Any) -> str:
    if verdict.percent is None:
        return "-"
    interval = "" if verdict.low is None else f" ({verdict.low:+.1f} to {verdict.high:+.1f})"
    return f"{verdict.percent:+.1f}%{interval}"
