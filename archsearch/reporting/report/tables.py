"""The tables of a report, as text in rows: a page and a Markdown file are made from the same."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from archsearch.reporting.front import finite
from archsearch.reporting.live import duration, rate
from archsearch.reporting.report.confirmed import candidates, verdict_of
from archsearch.reporting.report.data import Cost, Report
from archsearch.reporting.report.verdict import band_name, signed
from archsearch.reporting.report.worth import Cell, Choice
from archsearch.reporting.table import HEADS, cells
from archsearch.search.records import TrialRecord


@dataclass(frozen=True)
class Row:
    """Cells of a row; `trial`: the number of the trial it is about, if it is about one, which is then its first cell."""

    cells: tuple[str, ...]
    trial: int | None = None


@dataclass(frozen=True)
class Table:
    """A table: what it shows, heads, rows, which columns hold words (left) rather than numbers (right), and which of them long ones."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    words: frozenset[int] = frozenset({0})
    long: int | None = None


def front_table(report: Report) -> Table:
    """Returns the front, every member against the best baseline at its L0."""
    rows = [Row(cells(row), row.trial) for row in report.front]
    return Table("Members of the front, by rising L0", HEADS, tuple(rows), frozenset({1, 6}), long=1)


def trials_table(report: Report) -> Table:
    """Returns every trial of the study, in order."""
    heads = ("trial", "family", "spec", "state", "L0", "FVU", "CE recovered", "dead", "seconds")
    rows = [_trial(report, trial) for trial in report.record.trials]
    return Table("Every trial, in the order of the study", heads, tuple(rows), frozenset({1, 2, 3}), long=2)


def _trial(report: Report, trial: TrialRecord) -> Row:
    family = f"baseline {trial.baseline}" if trial.baseline else report.family_of.get(trial.number, "-")
    found = [_measured(trial, name, form) for name, form in _FORMS]
    return Row((str(trial.number), family, trial.words, trial.state, *found), trial.number)


_FORMS = (("l0", ".1f"), ("fvu", ".4f"), ("ce_recovered", ".3f"), ("dead_frac", ".1%"), ("seconds", ".1f"))


def _measured(trial: TrialRecord, name: str, form: str) -> str:
    value = finite(trial.measurements.get(name))
    return "-" if value is None else format(value, form)


def worth_table(report: Report, choice: Choice) -> Table:
    """Returns what every option of a choice came to, band by band."""
    bands = report.worth.bands
    heads = ("option", "trials", *[band_name(*band) for band in bands])
    rows = [Row((option.name, str(option.count), *map(_worth, option.cells))) for option in choice.options]
    where = f" (only where {choice.only})" if choice.only else ""
    return Table(f"{choice.name}{where}: best / median FVU against {report.worth.reference} (trials)", heads, tuple(rows))


def _worth(cell: Cell) -> str:
    if not cell.count:
        return "-"
    if cell.best is None or cell.middle is None:
        return f"no reference ({cell.count})"
    behind = str(cell.count) if cell.compared == cell.count else f"{cell.compared} of {cell.count}"
    return f"{signed(cell.best)} / {signed(cell.middle)} ({behind})"


def confirm_tables(confirmed: dict[str, Any]) -> list[Table]:
    """Returns the verdicts, candidate by band, a table for each baseline candidates were held against."""
    bands = [list(band) for band in confirmed["bands"]]
    heads = ("candidate", *[band_name(*band) for band in bands])
    against = list(dict.fromkeys(verdict["baseline"] for verdict in confirmed["verdicts"]))
    tables = []
    for baseline in against:
        rows = []
        for name in candidates(confirmed):
            found = [[v for v in verdict_of(confirmed, name, band) if v["baseline"] == baseline] for band in bands]
            if any(found):
                rows.append(Row((name, *[_verdict(one[0]) if one else "-" for one in found])))
        tables.append(Table(f"FVU against baseline {baseline}: difference, 95% interval, verdict", heads, tuple(rows)))
    return tables


def _verdict(verdict: dict[str, Any]) -> str:
    numbers = [finite(verdict.get(name)) for name in ("percent", "low", "high")]
    percent, low, high = numbers
    if percent is None:
        return str(verdict["verdict"])
    interval = "" if low is None or high is None else f" ({signed(low)} to {signed(high)})"
    return f"{signed(percent)}{interval}: {verdict['verdict']}"


def cost_table(report: Report) -> Table:
    """Returns what the study cost, by baseline and family."""
    heads = ("SAEs", "trained", "tokens", "training time", "median s per SAE", "FLOPs (estimate)")
    return Table("What was trained, and what it cost", heads, tuple(Row(_cost(cost)) for cost in report.costs))


def _cost(cost: Cost) -> tuple[str, ...]:
    seconds = "-" if cost.seconds is None else duration(cost.seconds)
    middle = "-" if cost.middle_seconds is None else f"{cost.middle_seconds:.1f}"
    return cost.name, str(cost.trained), rate(cost.tokens), seconds, middle, "-" if cost.flops is None else f"{cost.flops:.2g}"


def remark_table(report: Report) -> Table:
    """Returns trials that failed, or ended otherwise than asked, those with the same message on one row."""
    told = sorted((t for t in report.record.trials if t.message), key=lambda t: (t.state, t.message, t.number))
    rows = []
    for (state, message), group in groupby(told, key=lambda t: (t.state, t.message)):
        rows.append(Row((", ".join(str(t.number) for t in group), state, message)))
    return Table(
        "Trials that failed, or ended otherwise than asked", ("trials", "state", "what happened"), tuple(rows), frozenset({0, 1, 2}), long=2
    )


def hash_table(report: Report) -> Table:
    """Returns the hashes of the front: equal `run` hashes train to equal SAEs."""
    rows = [Row((t.label, t.arch, t.run), t.number) for t in report.picture.front]
    return Table("Hashes of the front's members", ("trial", "arch", "run"), tuple(rows), frozenset({1, 2}))


def environment_table(report: Report) -> Table:
    """Returns where the numbers come from: versions, machine, data."""
    rows = [Row((name, text)) for name, text in _flat("", report.record.provenance)]
    return Table("Environment and data", ("what", "value"), tuple(rows), frozenset({0, 1}))


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, entry in value.items() for pair in _flat(f"{prefix} {key}".strip(), entry)]
    if value is None or value == []:
        return []
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]
