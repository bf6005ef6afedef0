"""A comparison as plain data, as tables for a terminal, and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.evaluation.intervals import Interval
from archsearch.evaluation.pairs import Level, Pair
from archsearch.evaluation.verdicts import Verdict, band_words, l0_words
from archsearch.reporting.front import plain
from archsearch.reporting.live import counted
from archsearch.search.comparison import Comparison
from archsearch.search.replicates import Row

FORMAT = "archsearch-compare-1"
LEVEL_HEADS = ("L0", "FVU", "CE recovered", "verdict")
RUN_HEADS = ("SAE", "asked for", "L0", "FVU", "CE recovered", "dead", "gamma")
COST_HEADS = ("SAE", "parameters", "FLOPs per token", "seconds to train")
MOST_NOTES = 6
HOW = """All see the same rows in the same order, and are measured on validate rows at inference. FVU and CE recovered are read off each
seed's own curve at the L0 of the table, never beyond it, and differences are taken in pairs of seeds: FVU in percent (below zero: better),
CE recovered as it is (above zero: better). Intervals are 95% t intervals over seeds. Verdicts at single L0s are adjusted together (Holm),
and so are those over all L0s where there are several pairs."""


def compare_json(found: Comparison, command: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of `compare.json`; plain JSON values only."""
    told, words = found.plan.differences(), found.plan
    return plain(
        {
            "format": FORMAT,
            "command": command,
            "split": "validate",
            "levels": list(words.levels),
            "seeds": list(words.seeds),
            "tokens": words.entries[0].tokens,
            "entries": [
                {
                    "name": entry.name,
                    "source": entry.written.source,
                    "words": entry.words,
                    "different": told[entry.name],
                    "as_written": entry.why,
                    "batch": entry.batch,
                    "spec": entry.document,
                    "rows": [{key: value for key, value in row.items() if key != "name"} for row in found.rows[entry.name]],
                }
                for entry in words.entries
            ],
            "pairs": [_pair(pair) for pair in found.pairs],
            "notes": found.notes(),
            "summary": summary(found),
            "provenance": provenance,
        }
    )


def summary(found: Comparison) -> list[str]:
    """Returns the verdicts, a sentence a pair."""
    return [f"{pair.overall.sentence}; {pair.remark}" if pair.remark else pair.overall.sentence for pair in found.pairs]


def print_comparison(found: Comparison, console: Console) -> None:
    """Prints verdicts, what the specs differ in, every L0, costs and notes."""
    for line in summary(found):
        console.print(Text(line, style="bold"), soft_wrap=True)
    for name, words in found.plan.differences().items():
        console.print(Text(f"  {name}: {words}"), soft_wrap=True)
    for pair in found.pairs:
        console.print(_table(LEVEL_HEADS, level_rows(pair, found), f"{pair.other} against {pair.reference} (95% intervals)"))
    console.print(_table(RUN_HEADS, run_rows(found)))
    console.print(_table(COST_HEADS, cost_rows(found)))
    notes = found.notes()
    for line in notes[:MOST_NOTES]:
        console.print(Text(line), soft_wrap=True)
    if len(notes) > MOST_NOTES:
        console.print(Text(f"{len(notes) - MOST_NOTES} more notes are in compare.md"), soft_wrap=True)


def markdown(found: Comparison, command: str, provenance: Mapping[str, Any]) -> str:
    """Returns the comparison in Markdown: verdicts, picture, tables, notes, and how to get it again."""
    names = [entry.name for entry in found.plan.entries]
    levels = ", ".join(f"{level:g}" for level in found.plan.levels)
    tokens, seeds = found.plan.entries[0].tokens, len(found.plan.seeds)
    lines = [f"# {_cell(' against '.join([', '.join(names[1:]), names[0]]))}", "", *[f"- {_cell(line)}" for line in summary(found)], ""]
    lines += ["![FVU against effective L0](compare.png)", "", "What tells them apart:", ""]
    lines += [f"- {_cell(name)}: {_cell(words)}" for name, words in found.plan.differences().items()]
    lines += ["", f"Each was asked for effective L0 {levels}, with {tokens:,} tokens and {counted(seeds, 'seed')}.", HOW, ""]
    for pair in found.pairs:
        lines += [f"{_cell(pair.other)} against {_cell(pair.reference)}:", "", *_markdown(LEVEL_HEADS, level_rows(pair, found)), ""]
    lines += ["Means over seeds:", "", *_markdown(RUN_HEADS, run_rows(found)), "", *_markdown(COST_HEADS, cost_rows(found)), ""]
    lines += [f"- {_cell(note)}" for note in found.notes()] + [""] * bool(found.notes())
    lines += ["```sh", command, "```", "", *[f"- {name}: {_cell(text)}" for name, text in _facts(provenance).items()]]
    return "\n".join(lines) + "\n"


def level_rows(pair: Pair, found: Comparison) -> list[tuple[str, ...]]:
    """Returns a pair as text, in the order of `LEVEL_HEADS`: every L0, then the mean over all of them."""
    planned = len(found.plan.seeds)
    rows = [_level(_asked(level), level.verdict, level.ce, planned) for level in pair.levels]
    if len(pair.levels) > 1 and pair.overall.percent is not None:
        rows.append(_level("mean", pair.overall, pair.ce, planned))
    return rows


def run_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Returns what each entry came to at each L0 asked for as text, in the order of `RUN_HEADS`; means over seeds."""
    rows = []
    for entry in found.plan.entries:
        for level in entry.levels:
            runs = [row for row in found.rows[entry.name] if row["asked"] == level and "failure" not in row]
            asked = "as written" if level is None else f"{level:g}"
            rows.append((entry.name, asked, *[_mean(runs, field, form) for field, form in MEASURED]))
    return rows


MEASURED = (("l0", ".1f"), ("fvu", ".4f"), ("ce_recovered", ".3f"), ("dead_frac", ".1%"), ("gamma", ".3f"))


def cost_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Returns what each entry costs as text, in the order of `COST_HEADS`; the largest of its runs, seconds their mean."""
    rows = []
    for entry in found.plan.entries:
        runs = [row for row in found.rows[entry.name] if "failure" not in row]
        largest = [f"{max(row[field] for row in runs):,}" if runs else "-" for field in ("parameters", "flops")]
        rows.append((entry.name, *largest, _mean(runs, "seconds", ".1f")))
    return rows


def _mean(rows: Sequence[Row], field: str, form: str) -> str:
    values = [row[field] for row in rows if row[field] is not None]
    return format(mean(values), form) if values else "-"


def _level(where: str, verdict: Verdict, ce: Interval | None, planned: int) -> tuple[str, ...]:
    percent = "-" if verdict.percent is None else f"{verdict.percent:+z.1f}%"
    if verdict.low is not None and verdict.high is not None:
        percent += f" ({verdict.low:+z.1f} to {verdict.high:+z.1f})"
    recovered = "-" if ce is None else f"{ce.mean:+z.3f}"
    if ce is not None and math.isfinite(ce.low):
        recovered += f" ({ce.low:+z.3f} to {ce.high:+z.3f})"
    told = "no verdict" if verdict.seeds == 1 else verdict.verdict
    return where, percent, recovered, told if verdict.seeds in (0, planned) else f"{told}, {counted(verdict.seeds, 'seed')}"


def _asked(level: Level) -> str:
    """Returns the L0 a level was compared at, and the one asked for where it is another."""
    match = level.match
    told = band_words(match.at).removeprefix("L0 ")
    if match.asked is None or l0_words(match.asked) == told:
        return told
    return f"{told} (for {l0_words(match.asked)})"


def _pair(pair: Pair) -> dict[str, Any]:
    levels = [
        {
            "asked": level.match.asked,
            "at": list(level.match.at),
            "differences": level.match.fvu,
            "ce_differences": level.match.ce,
            **level.verdict.as_dict(),
            "ce": _interval(level.ce),
        }
        for level in pair.levels
    ]
    return {
        "reference": pair.reference,
        "other": pair.other,
        **pair.overall.as_dict(),
        "ce": _interval(pair.ce),
        "remark": pair.remark,
        "levels": levels,
    }


def _interval(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else {"mean": found.mean, "low": found.low, "high": found.high, "p": found.p}


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """Returns a table in which a narrow terminal folds the first and the last column, never the numbers."""
    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE, pad_edge=False)
    for index, head in enumerate(heads):
        outer = index in (0, len(heads) - 1)
        table.add_column(head, justify="right" if index else "left", overflow="fold", no_wrap=not outer, min_width=8 if outer else None)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    return table


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    aligned = ["---", *["---:"] * (len(heads) - 1)]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in [heads, aligned, *rows]]


def _facts(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Returns versions, machine and data as one line each."""

    def line(value: Any) -> str:
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None) if isinstance(value, Mapping) else str(value)

    told = {name: line(value) for name in ("machine", "versions", "precision", "executor") if (value := provenance.get(name))}
    data = provenance.get("activations") or {}
    return {**told, "activations": ", ".join(f"{key} {data[key]}" for key in ("source", "fingerprint") if data.get(key))}


def _cell(text: str) -> str:
    """Returns text on one line that cannot break out of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
