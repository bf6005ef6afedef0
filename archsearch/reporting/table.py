"""The front against the baselines as a table: for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.reporting.front import FrontRow, baseline_names, counts, front_rows
from archsearch.reporting.ladder import ladder_words
from archsearch.reporting.live import counted
from archsearch.reporting.picture import number
from archsearch.search.records import StudyRecord

HEADS = ("trial", "spec", "L0", "FVU", "CE recovered", "dead", "vs baseline")


def front_table(rows: list[FrontRow], title: str = "") -> Table:
    """Returns the front as a table for a terminal; a narrow one folds the specs, never the numbers."""
    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE, pad_edge=False)
    for head in HEADS:
        if head == "spec":
            table.add_column(head, overflow="fold", min_width=12)
        else:
            table.add_column(head, justify="right", no_wrap=head != "vs baseline")
    for row in rows:
        table.add_row(*[Text(text) for text in cells(row)])
    return table


def print_front(record: StudyRecord, console: Console) -> None:
    """Prints the front against the baselines, or why there is none."""
    rows = front_rows(record)
    low, high = (number(edge) for edge in record.band)
    if rows:
        console.print(front_table(rows, f"{record.name}: the front at L0 {low} to {high}"))
    else:
        console.print(Text(f"{record.name}: no finished trial lies in the band (L0 {low} to {high}): {tally(record)}"))


def cells(row: FrontRow) -> tuple[str, ...]:
    """Returns a row as text, in the order of `HEADS`."""
    return (
        row.label,
        row.words,
        f"{row.l0:.1f}",
        f"{row.fvu:.4f}",
        "-" if row.ce_recovered is None else f"{row.ce_recovered:.3f}",
        "-" if row.dead_frac is None else f"{row.dead_frac:.1%}",
        _versus(row),
    )


def _versus(row: FrontRow) -> str:
    if row.baseline:
        return "baseline"
    if row.versus is None:
        return "none there"
    return f"{row.versus.percent:+.1f}% {row.versus.baseline}"


def cut_words(rows: Sequence[FrontRow]) -> list[str]:
    """Returns a sentence on the members of a front that are points of trials; nothing where there is none."""
    cut = sum(row.cut_to is not None for row in rows)
    was = "was cut to its" if cut == 1 else "were cut to their"
    return [f"Of {counted(len(rows), 'front member')}, {cut} {was} L0 after training."] if cut else []


def remarks(record: StudyRecord, most: int = 3) -> list[str]:
    """Returns a line for each branch that gave no trial and each of the first trials that ended otherwise than asked, and what is left."""
    found = [f"trial {trial.number}: {trial.message}" for trial in record.trials if trial.state == "complete" and trial.message]
    left = len(found) - most
    return [
        *record.refused,
        *ladder_words(record),
        *found[:most],
        *([f"{left} more trials ended otherwise than asked (`archsearch status --json` lists them)"] if left > 0 else []),
    ]


def tally(record: StudyRecord) -> str:
    """Returns in words how many trials there are and how they ended."""
    found = counts(record)
    outside = found.pop("outside_band")
    parts = [
        f"{count} {state}" + (f" ({outside} outside the band)" if state == "complete" and outside else "") for state, count in found.items()
    ]
    return ", ".join(parts) or "no trial yet"


def summary(record: StudyRecord) -> str:
    """Returns the study's result in Markdown: question, table, picture, and how to get it again."""
    rows = front_rows(record)
    low, high = (number(edge) for edge in record.band)
    names = baseline_names(record)
    lines = [
        f"# {_plain(record.name)}",
        "",
        _plain(record.question) or "(no question was written down)",
        "",
        f"The front at effective L0 {low} to {high}, from {counted(len(record.trials), 'trial')} ({tally(record)}).",
        f"Baselines: {', '.join(map(_plain, names)) if names else 'none'}. FVU: fraction of variance unexplained, lower is better;",
        "vs baseline: difference in FVU to the best baseline at the same L0 (below zero is better).",
        "",
        *_markdown(rows),
        "",
        *[line for sentence in cut_words(rows) for line in (sentence, "")],
        *[line for branch in record.refused for line in (f"{_plain(branch[0].upper() + branch[1:])}.", "")],
        *[line for sentence in ladder_words(record) for line in (sentence, "")],
        "![The front](front.png)",
        "",
        *_repeat(record),
    ]
    return "\n".join(lines) + "\n"


def _markdown(rows: list[FrontRow]) -> list[str]:
    if not rows:
        return ["No finished trial lies in the band."]
    aligned = ["---" if head == "spec" else "---:" for head in HEADS]
    body = [[_plain(cell) for cell in cells(row)] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in [HEADS, aligned, *body]]


def _repeat(record: StudyRecord) -> list[str]:
    facts = {"Wall clock": f"{record.seconds:.0f} s", "Ended": record.stopped or "not yet"}
    facts |= {name: _fact(value) for name in ("machine", "versions") if (value := record.provenance.get(name))}
    listed = [f"- {name.capitalize()}: {_plain(text)}" for name, text in facts.items()]
    return [*(["```sh", record.command, "```", ""] if record.command else []), *listed]


def _fact(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None) if isinstance(value, dict) else str(value)


def _plain(text: str) -> str:
    """Returns text on one line that cannot break out of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
