"""An ablation as plain data, as a table for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.evaluation.verdicts import INCOMPARABLE, band_words
from archsearch.reporting.comparison import HOW, compare_json
from archsearch.reporting.front import plain
from archsearch.reporting.live import counted
from archsearch.search.ablation import Ablation
from archsearch.search.comparison import Comparison

FORMAT = "archsearch-ablate-1"

HEADS = ("put back", "FVU", "CE recovered", "parameters", "FLOPs", "seconds", "verdict")
SHOWN = ("put back", "FVU", "CE recovered", "FLOPs", "verdict")
"""Columns for which a terminal has room."""

COSTS = ("parameters", "flops", "seconds")

TOLD = "the other choices stay as the trial has them, and were tuned for it"


def ablation_json(found: Ablation, measured: Comparison, study: str, command: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of `ablation.json`; plain JSON values only. Percentages are of the SAE with the choice put back."""
    pairs = {pair.other: pair for pair in measured.pairs}
    own = _costs(measured, measured.plan.entries[0].name)
    choices = []
    for change in found.changes:
        verdict = pairs[change.name].overall.as_dict()
        ce = pairs[change.name].ce
        told = {key: verdict[key] for key in ("percent", "low", "high", "p", "p_holm", "seeds", "band", "verdict", "sentence")}
        recovered = None if ce is None else {"mean": ce.mean, "low": ce.low, "high": ce.high}
        costs = _costs(measured, change.name)
        choices.append({"choice": change.choice, "own": change.own, "back": change.back, **told, "ce": recovered, "costs": costs})
    skipped = [{"choice": one.choice, "own": one.own, "back": one.back, "why": one.why} for one in found.skipped]
    return plain(
        {
            "format": FORMAT,
            "study": study,
            "trial": found.trial.number,
            "words": found.trial.words,
            "reference": found.reference,
            "costs": own,
            "choices": choices,
            "skipped": skipped,
            "notes": [*found.notes, TOLD],
            "comparison": compare_json(measured, command, provenance),
        }
    )


def _costs(measured: Comparison, name: str) -> dict[str, float | None]:
    """Returns what an entry costs: the most parameters and FLOPs of its runs, and their mean seconds."""
    runs = [row for row in measured.rows[name] if "failure" not in row]
    if not runs:
        return dict.fromkeys(COSTS)
    return {key: mean(row[key] for row in runs) if key == "seconds" else max(row[key] for row in runs) for key in COSTS}


def rows(told: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns what `ablation_json` tells as text, in the order of `HEADS`: choices that matter most first."""
    order = sorted(zip(told["choices"], names, strict=True), key=lambda one: -(one[0]["percent"] or 0.0))
    return [(name, *_cells(choice, told["costs"])) for choice, name in order]


def _cells(choice: Mapping[str, Any], own: Mapping[str, float | None]) -> tuple[str, ...]:
    percent = "-" if choice["percent"] is None else f"{choice['percent']:+z.1f}%"
    if choice["low"] is not None:
        percent += f" ({choice['low']:+z.1f} to {choice['high']:+z.1f})"
    recovered = "-" if choice["ce"] is None else f"{choice['ce']['mean']:+z.3f}"
    return percent, recovered, *[_cost(choice["costs"][key], own[key]) for key in COSTS], choice["verdict"]


def _cost(value: float | None, own: float | None) -> str:
    if value is None or not own:
        return "-"
    return "equal" if value == own else f"{100 * (value / own - 1):+z.1f}%"


def headline(told: Mapping[str, Any]) -> str:
    """Returns what the table shows, in a sentence."""
    levels = told["comparison"]["levels"]
    where, seeds = band_words((levels[0], levels[-1])), counted(len(told["comparison"]["seeds"]), "fresh seed")
    return f"trial {told['trial']} with one choice at a time put back to {told['reference']}, at {where}, {seeds}"


def print_ablation(told: Mapping[str, Any], names: Sequence[str], console: Console) -> None:
    """Prints what each choice was worth, and what could not be tried."""
    console.print(Text(headline(told), style="bold"), soft_wrap=True)
    console.print(Text(f"  {told['words']}"), soft_wrap=True)
    found = rows(told, names)
    shown = [place for place, head in enumerate(HEADS) if head in SHOWN and any(row[place] != "-" for row in found)]
    table = Table(box=SIMPLE, pad_edge=False)
    for place in shown:
        outer = place in (0, len(HEADS) - 1)
        table.add_column(HEADS[place], justify="right" if place else "left", min_width=10 if outer else None, no_wrap=not outer)
    for row in found:
        table.add_row(*[Text(row[place]) for place in shown])
    console.print(table)
    for line in told_lines(told):
        console.print(Text(line), soft_wrap=True)


def told_lines(told: Mapping[str, Any]) -> list[str]:
    """Returns how to read the table, and what is not in it, a line each."""
    how = "FVU, CE recovered and costs: of the SAE with the choice put back against the trial (FVU above zero: the choice helps)"
    skipped = [f"not tried: {one['choice']} {_value(one['own'])} -> {_value(one['back'])}: {one['why']}" for one in told["skipped"]]
    unanswered = [one["sentence"] for one in told["choices"] if one["verdict"] == INCOMPARABLE]
    return [how, *unanswered, *skipped, *told["notes"], *told["comparison"]["notes"]]


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)


def markdown(told: Mapping[str, Any], names: Sequence[str]) -> str:
    """Returns the ablation in Markdown."""
    aligned = ["---", *["---:"] * (len(HEADS) - 1)]
    body = ["| " + " | ".join(map(_cell, row)) + " |" for row in [HEADS, aligned, *rows(told, names)]]
    lines = [f"# {_cell(told['study'])}: what the choices of trial {told['trial']} are worth", "", _cell(told["words"]), ""]
    lines += [f"{_cell(headline(told)[0].upper() + headline(told)[1:])}.", "", *body, ""]
    lines += [f"- {_cell(line)}" for line in told_lines(told)]
    return "\n".join([*lines, "", HOW, "", "```sh", told["comparison"]["command"], "```"]) + "\n"


def _cell(text: str) -> str:
    """Returns text on one line that cannot break out of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
