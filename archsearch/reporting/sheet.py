"""A study as one flat table, a row a trial and a row a point: as CSV, JSON or Parquet, for whatever a reader likes to plot with.

What was not measured, and a hole that is not there, is no value at all; what was measured and is not finite, and a hole filled with null,
is one. The three formats keep the two apart as far as they can (docs/results.md).
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsearch.errors import ArchsearchError
from archsearch.reporting.front import cut_of, front_trials
from archsearch.reporting.report.volume import tokens_of
from archsearch.reporting.results import write_whole
from archsearch.search.records import StudyRecord, TrialRecord, standing
from archsearch.search.settings import varied

FIRST = ("trial", "state", "baseline", "front", "ask", "level", "words")
CUT = ("cut_from", "cut_to")
"""Of a point: the trial whose SAE is cut, and the L0 asked for; columns of a study that has points."""
LAST = ("tokens", "stopped_at", "copied_from", "message", "arch", "run")
MEASURED = ("l0", "fvu", "ce_recovered", "dead_frac")
"""Measurements that have a column in every table, before those that only some studies make."""

HOLE, SETTING = "params.", "spec."
"""What the names of columns of holes and of settings begin with."""

_TYPES = {"front": bool, **dict.fromkeys(("trial", "ask", "level", "tokens", "copied_from", "cut_from"), int)}
_TYPES |= dict.fromkeys((*MEASURED, "stopped_at", "cut_to"), float)
_TYPES |= dict.fromkeys(("state", "baseline", "words", "message", "arch", "run"), str)

Row = dict[str, Any]


@dataclass(frozen=True)
class Sheet:
    """Rows by column; a column a row has no value for is not in it. `columns`: all of them, in order."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def sheet(record: StudyRecord, only_front: bool = False, with_settings: bool = False) -> Sheet:
    """Returns a study as a table, trials in order of number, each before its points.

    Args:
        record: the study.
        only_front: leaves out who does not stand on the front.
        with_settings: a column for every setting in which the specs of these trials differ, whoever proposed them.
    """
    members = {trial.label for trial in front_trials(record)}
    trials = [trial for trial in standing(record.trials) if not only_front or trial.label in members]
    settings = varied([trial.spec for trial in trials]) if with_settings else [{} for _ in trials]
    rows = []
    for trial, own in zip(trials, settings, strict=True):
        holes = {f"{HOLE}{name}": value for name, value in trial.params.items()}
        told = {f"{SETTING}{path}": value for path, value in own.items()}
        rows.append({**_first(trial, trial.label in members), **trial.measurements, **holes, **told, **_last(record, trial)})
    cut = CUT if any(trial.cut_to is not None for trial in trials) else ()
    others = dict.fromkeys(name for row in rows for name in row if name not in (*FIRST, *CUT, *LAST, *MEASURED))
    apart = [[name for name in others if name.startswith(prefix)] for prefix in (HOLE, SETTING)]
    measured = sorted(name for name in others if not name.startswith((HOLE, SETTING)))
    return Sheet((*FIRST, *cut, *MEASURED, *measured, *apart[0], *apart[1], *LAST), tuple(rows))


def _first(trial: TrialRecord, member: bool) -> Row:
    own = {"trial": trial.number, "state": trial.state, "front": member, "ask": trial.ask, "level": trial.level, "words": trial.words}
    own |= cut_of(trial)
    return own if trial.baseline is None else {**own, "baseline": trial.baseline}


def _last(record: StudyRecord, trial: TrialRecord) -> Row:
    found: Row = {"tokens": tokens_of(record, trial), "message": trial.message, "arch": trial.arch, "run": trial.run}
    if trial.state == "stopped":
        rungs = record.climbed.rungs.get(trial.number)
        found |= {"stopped_at": max(rungs)} if rungs else {}
    return found if trial.copied_from is None else {**found, "copied_from": trial.copied_from}


def as_csv(table: Sheet) -> str:
    """Returns the table as CSV: no value as nothing, null as `null`, what is not finite as `nan` or `inf`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_cell(row[name]) if name in row else "" for name in table.columns])
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value)


def as_json(table: Sheet) -> str:
    """Returns the table as a JSON array of objects: no value as no key; null, and what is not finite, as null."""
    return json.dumps([{name: _finite(row[name]) for name in table.columns if name in row} for row in table.rows], indent=1)


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_parquet(table: Sheet, path: Path) -> None:
    """Writes the table as Parquet, whole or not at all: a column of one type, text where values are of several; no value as null.

    Raises:
        ArchsearchError: pyarrow is not installed.
    """
    try:
        pyarrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ArchsearchError("Parquet needs pyarrow, which is not installed; `pip install pyarrow` does it, or use --format csv") from None
    types = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    arrays = []
    for name in table.columns:
        kind = _TYPES.get(name) or _type(row[name] for row in table.rows if name in row)
        arrays.append(pyarrow.array([_typed(row.get(name), kind) for row in table.rows], types[kind], from_pandas=False))
    found = pyarrow.table(arrays, names=list(table.columns))
    write_whole(path, lambda partial: parquet.write_table(found, partial))


def _type(values: Iterable[Any]) -> type:
    """Returns the one type of a column's values: whole numbers among others are numbers, anything else mixed is text."""
    found = {type(value) for value in values if value is not None}
    if found <= {int, float} and found:
        return int if found == {int} else float
    return found.pop() if found in ({bool}, {str}) else str


def _typed(value: Any, kind: type) -> Any:
    if value is None:
        return None
    return _cell(value) if kind is str else kind(value)
