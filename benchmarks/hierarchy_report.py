"""The report of studies/hierarchy: FVU, and what was found of the planted features, hierarchical SAEs against the flat one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from archsearch.evaluation.intervals import holm, paired
from archsearch.reporting.picture import COLOURS
from benchmarks.verdict_tables import Row, against, by_design, mean, spread, table_head, table_row

FLAT = "batch_topk"
FOUND = (("mcc", "MCC"), ("parent_f1", "parents' F1"), ("child_f1", "children's F1"), ("absorption", "absorption"))
"""Measures of what was found; higher is better but for absorption."""


def write_report(told: dict[str, Any], folder: Path) -> None:
    """Writes report.md and found.png of what `benchmarks.hierarchy` measured."""
    levels = list(told["settings"]["levels"])
    rows = by_design(told)
    parts = [
        ["# A planted hierarchy"],
        *[_level(rows, level, told["rates"]) for level in levels],
        _differences(rows, levels),
        ["FVU against the flat SAE (below zero: lower; 95% t intervals over paired seeds):"],
        against(rows, FLAT, [name for name in rows if name != FLAT], levels),
    ]
    (folder / "report.md").write_text("\n".join(line for part in parts for line in [*part, ""]).rstrip() + "\n")
    _draw(rows, levels, folder / "found.png")


def _level(rows: dict[str, list[Row]], level: int, rates: dict[str, float]) -> list[str]:
    lines = [f"Asked for L0 {level} (means over seeds, +- half of the 95% t interval):", ""]
    lines += table_head(["design", "L0", "FVU", *[head for _, head in FOUND], "absorbed", "dead", "rate"])
    for name, found in rows.items():
        part = [row for row in found if row["asked"] == level and "fvu" in row]
        cells = [spread(part, "l0", ".2f"), spread(part, "fvu", ".4f"), *[spread(part, field) for field, _ in FOUND]]
        lines.append(table_row([name, *cells, spread(part, "absorbed_frac"), f"{mean(part, 'dead_frac'):.1%}", f"{rates[name]:g}"]))
    return lines


def _differences(rows: dict[str, list[Row]], levels: Sequence[int]) -> list[str]:
    lines = [
        f"Differences from the flat SAE `{FLAT}`, mean over the L0s asked for, in pairs of seeds, with 95% t intervals; bold where Holm's",
        "adjusted p over the whole table is at most 5%. Higher is better but for absorption.",
        "",
        *table_head(["design", *[head for _, head in FOUND]]),
    ]
    others = [name for name in rows if name != FLAT]
    found = {(name, field): _paired(rows[name], rows[FLAT], field, levels) for name in others for field, _ in FOUND}
    asked = {key: interval for key, values in found.items() if len(values) > 1 for interval in [paired(values)]}
    adjusted = dict(zip(asked, holm([interval.p for interval in asked.values()]), strict=True))
    for name in others:
        cells = []
        for field, _ in FOUND:
            if (interval := asked.get((name, field))) is None:
                cells.append("-")
                continue
            text = f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
            cells.append(f"**{text}**" if adjusted[name, field] <= 0.05 else text)
        lines.append(table_row([name, *cells]))
    return lines


def _paired(first: list[Row], second: list[Row], field: str, levels: Sequence[int]) -> list[float]:
    """Returns the difference of a field by seed, averaged over L0s; seeds that lack one are left out."""
    at = [{(row["seed"], row["asked"]): row.get(field) for row in rows} for rows in (first, second)]
    found = []
    for seed in sorted({row["seed"] for row in first}):
        pairs = [(at[0].get((seed, level)), at[1].get((seed, level))) for level in levels]
        values = [a - b for a, b in pairs if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)]
        if len(values) == len(levels):
            found.append(sum(values) / len(values))
    return found


def _draw(rows: dict[str, list[Row]], levels: Sequence[int], path: Path) -> None:
    fields = [("fvu", "FVU (lower is better)"), *[(field, head) for field, head in FOUND if field != "mcc"]]
    figure, panels = plt.subplots(1, len(fields), figsize=(3.7 * len(fields), 4), dpi=150)
    for axes, (field, head) in zip(panels, fields, strict=True):
        for index, (name, found) in enumerate(rows.items()):
            y = [mean([row for row in found if row["asked"] == level], field) for level in levels]
            style = {"color": COLOURS[index % len(COLOURS)], "marker": "osD^vPX*<>"[index % 10], "markersize": 4, "linewidth": 1.2}
            axes.plot(levels, y, label=name, **style)
        axes.set(title=head, xlabel="L0 asked for")
        axes.set_xticks(levels)
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    here = Path(__file__).parent.parent / "studies" / "hierarchy"
    write_report(json.loads((here / "results.json").read_text()), here)
