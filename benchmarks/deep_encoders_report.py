"""The report of studies/deep-encoders: FVU, FLOPs, the gap to pursuit, and verdicts against linear encoders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from archsearch.reporting.picture import COLOURS
from benchmarks.verdict_tables import Row, against, by_design, mean, spread, table_head, table_row

LINEAR = "linear"


def write_report(told: dict[str, Any], folder: Path) -> None:
    """Writes report.md and fvu.png of what `benchmarks.deep_encoders` measured."""
    levels = list(told["settings"]["levels"])
    rows = by_design(told)
    flops = {name: max(row["flops"] for row in found if "flops" in row) for name, found in rows.items()}
    deep = [name for name in rows if not name.startswith(LINEAR + " ") or "+" in name]
    deep.remove(LINEAR)
    wide = [name for name in rows if name.startswith(LINEAR) and name not in deep]
    parts = [
        ["# Deeper encoders at matched L0"],
        _reached(rows, levels, flops, told["rates"]),
        ["As many latents, more FLOPs (below zero: lower FVU than the linear encoder; 95% t intervals over paired seeds):"],
        against(rows, LINEAR, [name for name in rows if name != LINEAR], levels),
        ["As many FLOPs a token: against the linear encoder whose cost is nearest, which has more latents:"],
        *[against(rows, _nearest(name, wide, flops), [name], levels) for name in deep],
        _gaps(rows, levels),
    ]
    (folder / "report.md").write_text("\n".join(line for part in parts for line in [*part, ""]).rstrip() + "\n")
    _draw(rows, levels, flops, folder / "fvu.png")


def _nearest(name: str, wide: list[str], flops: dict[str, int]) -> str:
    return min(wide, key=lambda other: abs(math.log(flops[other] / flops[name])))


def _reached(rows: dict[str, list[Row]], levels: list[int], flops: dict[str, int], rates: dict[str, float]) -> list[str]:
    lines = ["FVU on validate rows at the L0 asked for (mean over seeds, +- half of the 95% t interval; lower is better).", ""]
    lines += table_head(["encoder", *[f"L0 {level}" for level in levels], "FLOPs a token", "parameters", "seconds", "rate"])
    for name in sorted(rows, key=lambda one: mean(rows[one], "fvu")):
        cells = [spread([row for row in rows[name] if row["asked"] == level], "fvu", ".4f") for level in levels]
        costs = [f"{flops[name]:,}", f"{max(row.get('parameters', 0) for row in rows[name]):,}", f"{mean(rows[name], 'seconds'):.0f}"]
        lines.append(table_row([name, *cells, *costs, f"{rates[name]:g}"]))
    return lines


def _gaps(rows: dict[str, list[Row]], levels: list[int]) -> list[str]:
    lines = [
        "What encoders leave behind on their own dictionary: FVU of gradient pursuit with as many latents a row, the gap to it (log FVU of",
        "the encoder over that of pursuit), and how much of the gap is values rather than which latents are on (least squares on the own",
        "supports). Means over seeds; one cell an L0.",
        "",
    ]
    lines += table_head(["encoder", "pursuit FVU", "gap", "of it values", "of it support"])
    for name, found in rows.items():
        by = [[row for row in found if row["asked"] == level] for level in levels]
        cells = [", ".join(f"{mean(part, field):.{digits}f}" for part in by) for field, digits in FIELDS]
        lines.append(table_row([name, *cells]))
    flops = {level: mean([row for row in rows[LINEAR] if row["asked"] == level], "pursuit_flops") for level in levels}
    told = ", ".join(f"{value:,.0f} at L0 {level}" for level, value in flops.items())
    return [*lines, "", f"Pursuit on 512 latents costs, in FLOPs a token: {told}."]


FIELDS = (("pursuit_fvu", 4), ("gap", 3), ("values_gap", 3), ("support_gap", 3))


def _draw(rows: dict[str, list[Row]], levels: list[int], flops: dict[str, int], path: Path) -> None:
    figure, panels = plt.subplots(1, len(levels), figsize=(4.2 * len(levels), 4.2), dpi=150)
    for axes, level in zip(panels, levels, strict=True):
        for index, (name, found) in enumerate(rows.items()):
            values = [row["fvu"] for row in found if row["asked"] == level and "fvu" in row]
            style = {"color": COLOURS[index % len(COLOURS)], "marker": "osD^vPX*<>"[index % 10]}
            axes.plot([flops[name]] * len(values), values, linestyle="", markersize=6, alpha=0.8, label=name, **style)
        axes.set(xscale="log", xlabel="FLOPs a token", title=f"L0 {level}")
        ticks = sorted(value for name, value in flops.items() if name.startswith(LINEAR) and "+" not in name)
        axes.set_xticks(ticks, [f"{tick / 1000:.0f}k" for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("FVU (lower is better)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    here = Path(__file__).parent.parent / "studies" / "deep-encoders"
    write_report(json.loads((here / "results.json").read_text()), here)
