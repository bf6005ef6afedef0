"""A study in Markdown with its figures as files: for a post, or the start of a paper."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from archsearch.reporting.ladder import ladder_words
from archsearch.reporting.live import counted, duration
from archsearch.reporting.picture import note
from archsearch.reporting.report.data import Report
from archsearch.reporting.report.drawing import READING, svg
from archsearch.reporting.report.figures import save_figures
from archsearch.reporting.report.methods import methods, references, repeat_commands
from archsearch.reporting.report.tables import (
    Table,
    confirm_tables,
    cost_table,
    environment_table,
    front_table,
    hash_table,
    remark_table,
    worth_table,
)
from archsearch.reporting.report.verdict import caution, confirmed_sentences, found_sentences, told_sentences
from archsearch.reporting.results import write_whole

_FIGURES = {
    "front": "FVU against effective L0: the front (line), baselines (dashed, hollow) and every SAE of the search",
    "hypervolume": "Hypervolume over the tokens trained on",
    "learning": "Learning curves of front members (solid) and of each baseline's best (dashed)",
    "confirmation": "The confirmation, a line for every seed",
}


def save_markdown(report: Report, folder: Path) -> Path:
    """Writes `report.md` and its figures (PNG, and SVG beside each) to a folder; returns the path of `report.md`.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = save_figures(report, folder)
    drawings = []
    for index, one in enumerate(report.architectures, start=1):
        name = " / ".join(filter(None, one.families)) or "no gate"
        text = svg(one.diagram, f"Architecture: {name}", standalone=True) + "\n"
        path = write_whole(folder / f"architecture-{index}.svg", lambda partial, text=text: partial.write_text(text, encoding="utf-8"))
        drawings.append((path.name, name, counted(len(one.trials), "member")))
    text = "\n".join(_lines(report, {name: path.name for name, path in figures.items()}, drawings)) + "\n"
    return write_whole(folder / "report.md", lambda partial: partial.write_text(text, encoding="utf-8"))


def _lines(report: Report, figures: dict[str, str], drawings: list[tuple[str, str, str]]) -> list[str]:
    record = report.record
    lines = [f"# {plain(record.name)}", "", plain(record.question) or "No question was written down.", "", "## What the study found", ""]
    if told := confirmed_sentences(report):
        lines += ["The confirmation:", "", *[f"- {plain(sentence)}" for sentence in told], "", "The search:", ""]
    lines += [*[f"- {plain(sentence)}" for sentence in found_sentences(report)], "", f"**{caution(report)}**", ""]
    lines += ["## The front against the baselines", "", *_figure(figures, "front"), f"{note(report.picture).capitalize()}.", ""]
    lines += _table(front_table(report))
    lines += _headed("## Hypervolume over tokens", _figure(figures, "hypervolume"))
    if report.worth.choices:
        said = (
            f"Best / median FVU against {report.worth.reference} and, in brackets, the trials behind them (below zero is better). No causal"
        )
        lines += ["## What each choice was worth", "", f"{said} claim: one seed a point, and the sampler chose where to try.", ""]
        lines += [line for choice in report.worth.choices for line in _table(worth_table(report, choice))]
    pictures = [f"![{plain(name)}]({path})\n\n{plain(name)}: {members} of the front.\n" for path, name, members in drawings]
    lines += _headed("## Architectures on the front", [READING.replace("|", "\\|"), "", *pictures] if pictures else [])
    lines += _headed("## Learning curves", _figure(figures, "learning"))
    if report.confirmed:
        tables = [line for table in confirm_tables(report.confirmed) for line in _table(table)]
        told = [f"- {plain(sentence)}" for sentence in told_sentences(report)]
        lines += ["## Confirmation", "", *_figure(figures, "confirmation"), *tables, *told, ""]
    lines += _headed("## What the ladder saved", [f"{plain(' '.join(ladder_words(record)))}", ""] if ladder_words(record) else [])
    lines += ["## Cost", "", f"{duration(record.seconds)} of wall clock in all.", "", *_table(cost_table(report))]
    if remark_table(report).rows:
        lines += ["## Failures and remarks", "", *_table(remark_table(report))]
    lines += ["## Method", "", *[f"{plain(paragraph)}\n" for paragraph in methods(report)]]
    if found := references(report):
        lines += ["## References", "", *[f"{i}. {plain(one.text)} <{one.url}>" for i, one in enumerate(found, start=1)], ""]
    lines += ["## How to repeat it", "", "```sh", *repeat_commands(report), "```", ""]
    return [*lines, *_table(hash_table(report)), *_table(environment_table(report))]


def _headed(heading: str, lines: list[str]) -> list[str]:
    return [heading, "", *lines] if lines else []


def _figure(figures: dict[str, str], name: str) -> list[str]:
    return [f"![{_FIGURES[name]}]({figures[name]})", "", f"*{_FIGURES[name]}.*", ""] if name in figures else []


def _table(table: Table) -> list[str]:
    if not table.rows:
        return []
    aligned = ["---" if column in table.words else "---:" for column in range(len(table.heads))]
    rows: Iterable[Iterable[str]] = [table.heads, aligned, *[row.cells for row in table.rows]]
    drawn = ["| " + " | ".join(plain(cell) if cell not in ("---", "---:") else cell for cell in row) + " |" for row in rows]
    return [f"{plain(table.caption)}:", "", *drawn, ""]


def plain(text: str) -> str:
    """Returns text on one line that no Markdown reader takes for anything else."""
    return re.sub(r"([\\|*`\[\]])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")
