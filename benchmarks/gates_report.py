"""The report of studies/gates: tables at matched L0, paired intervals, published orderings checked, and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from archsearch.evaluation.intervals import paired as t_interval
from archsearch.reporting.picture import COLOURS

Row = dict[str, Any]
Curve = dict[int, dict[int, float]]
"""Log FVU by seed and L0."""

ORDERINGS = (
    ("jumprelu", "gated", "JumpReLU better than Gated (JumpReLU paper)"),
    ("jumprelu", "topk", "JumpReLU at least as good as TopK (JumpReLU paper)"),
    ("batch_topk", "topk", "BatchTopK better than TopK (BatchTopK paper)"),
    ("jumprelu", "batch_topk", "JumpReLU at least as good as BatchTopK"),
    ("topk", "gated", "TopK better than Gated"),
    ("gated", "relu_l1", "Gated better than ReLU with L1 (Gated paper)"),
    ("gated", "gated_ri_l1", "Gated slightly better than its RI-L1 variant (its authors)"),
    ("prolu", "relu_sqrt", "ProLU better than ReLU with a square root (ProLU post)"),
    ("relu_sqrt", "relu_l1", "the square root better than L1 (ProLU post)"),
    ("relu_p_annealed", "relu_l1", "annealing p better than L1 (p-annealing paper)"),
    ("relu_p_annealed", "gated", "annealing p about as good as Gated (p-annealing paper)"),
    ("abs_topk", "topk", "AbsTopK better than TopK (AbsTopK paper)"),
    ("topk", "groupmax", "TopK better than GroupMax"),
    ("feature_choice", "topk", "Feature Choice better than TopK (its paper)"),
    ("jumprelu", "jumprelu_tanh", "JumpReLU with L0 rebuilds better than with tanh"),
    ("batch_topk", "matryoshka_batch_topk", "BatchTopK rebuilds better than Matryoshka (SAEBench)"),
)
"""First rebuilds better than second, as published."""

EDGE = math.log(1.15)
"""How far beyond a seed's own curve (in log L0) its FVU is read, along the last piece."""


def matched(runs: list[Row], levels: list[int], measure: Callable[[Row], float]) -> Curve:
    """Returns a measure of one recipe at the L0s asked for, by seed: read off each seed's own curve, linear in log L0.

    An L0 beyond the curve's end by more than `EDGE` has no value: that recipe does not reach it.
    """
    found: Curve = {}
    for seed in sorted({row["seed"] for row in runs}):
        points = sorted((math.log(row["l0"]), measure(row)) for row in runs if row["seed"] == seed and row.get("l0", 0) > 0)
        found[seed] = {l0: value for l0 in levels if (value := _read(points, math.log(l0))) is not None}
    return found


def _read(points: list[tuple[float, float]], x: float) -> float | None:
    if len(points) < 2 or not points[0][0] - EDGE <= x <= points[-1][0] + EDGE:
        return None
    index = next((i for i in range(1, len(points) - 1) if x <= points[i][0]), len(points) - 1)
    (x0, y0), (x1, y1) = points[index - 1], points[index]
    return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def interval(values: list[float]) -> tuple[float, float]:
    """Returns mean and half width of the 95% t interval."""
    found = t_interval(values)
    return found.mean, (found.high - found.low) / 2


def paired(first: Curve, second: Curve, levels: list[int]) -> tuple[float, float] | None:
    """Returns mean and half width of the difference of log FVU over seeds, each seed averaged over `levels`; None where one lacks them."""
    seeds = [seed for seed in first if all(l0 in first[seed] and l0 in second.get(seed, {}) for l0 in levels)]
    if len(seeds) < 2:
        return None
    return interval([sum(first[seed][l0] - second[seed][l0] for l0 in levels) / len(levels) for seed in seeds])


def write_report(told: dict[str, Any], folder: Path) -> None:
    """Writes report.md and fvu.png of what `benchmarks.gates` measured."""
    levels = list(told["settings"]["levels"])
    by_recipe: dict[str, list[Row]] = {}
    for row in told["runs"]:
        by_recipe.setdefault(row["recipe"], []).append(row)
    curves = {name: matched(rows, levels, lambda row: math.log(row["fvu"])) for name, rows in by_recipe.items()}
    order = sorted(by_recipe, key=lambda name: _rank(curves[name], levels))
    parts = [_table(order, by_recipe, curves, levels, told["rates"]), _orderings(curves, levels), _others(order, by_recipe, levels)]
    (folder / "report.md").write_text("\n\n".join(["# Gates at matched L0", *parts]) + "\n")
    _draw(order, by_recipe, levels, folder / "fvu.png")


def _rank(curve: Curve, levels: list[int]) -> float:
    values = [math.exp(by[l0]) if l0 in by else 1.0 for by in curve.values() for l0 in levels]
    return sum(values) / max(len(values), 1)


def _table(order: list[str], rows: dict[str, list[Row]], curves: dict[str, Curve], levels: list[int], rates: dict[str, float]) -> str:
    lines = [
        "FVU on validate rows at exactly that effective L0 (mean over seeds, +- half of the 95% t interval; lower is better; lowest in",
        "bold), read off each seed's own curve; *L0 got*: what came of asking for it.",
        "",
        "| recipe | " + " | ".join(map(str, levels)) + " | L0 got | rate |",
        "|---|" + "---|" * (len(levels) + 2),
    ]
    cells: dict[tuple[str, int], tuple[float, float]] = {}
    for name in order:
        for l0 in levels:
            values = [math.exp(by[l0]) for by in curves[name].values() if l0 in by]
            if len(values) == len(curves[name]):
                cells[name, l0] = interval(values)
    best = {l0: min((cells[name, l0][0] for name in order if (name, l0) in cells), default=0.0) for l0 in levels}
    for name in order:
        told = []
        for l0 in levels:
            if (name, l0) not in cells:
                told.append("not reached")
                continue
            mean, half = cells[name, l0]
            text = f"{mean:.3f} +- {half:.3f}"
            told.append(f"**{text}**" if mean == best[l0] else text)
        got = ", ".join(f"{_mean([r['l0'] for r in rows[name] if r['asked'] == l0 and 'l0' in r]):.1f}" for l0 in levels)
        lines.append(f"| {name} | " + " | ".join(told) + f" | {got} | {rates[name]:g} |")
    return "\n".join(lines)


def _orderings(curves: dict[str, Curve], levels: list[int]) -> str:
    lines = [
        "Published orderings, here: how much lower (-) the first's FVU is than the second's, in pairs of seeds, with 95% t intervals",
        "(not adjusted for the number of comparisons). `all`: mean over the L0s both reach. An ordering *holds* or is *reversed* where the",
        "interval over all leaves zero out.",
        "",
        "| published | " + " | ".join(map(str, levels)) + " | all | here |",
        "|---|" + "---|" * (len(levels) + 2),
    ]
    for first, second, text in ORDERINGS:
        both = [l0 for l0 in levels if all(l0 in by for by in (*curves[first].values(), *curves[second].values()))]
        each = [paired(curves[first], curves[second], [l0]) for l0 in levels]
        whole = paired(curves[first], curves[second], both) if both else None
        verdict = (
            "no L0 in common" if whole is None else "holds" if sum(whole) < 0 else "reversed" if whole[0] > whole[1] else "not resolved"
        )
        lines.append(f"| {text} | " + " | ".join(map(_percent, each)) + f" | {_percent(whole)} | {verdict} |")
    return "\n".join(lines)


def _percent(difference: tuple[float, float] | None) -> str:
    if difference is None:
        return "-"
    mean, half = difference
    return f"{100 * math.expm1(mean):+.1f}% ({100 * math.expm1(mean - half):+.1f} to {100 * math.expm1(mean + half):+.1f})"


def _others(order: list[str], rows: dict[str, list[Row]], levels: list[int]) -> str:
    lines = [
        "Beyond FVU, means over seeds at each L0 asked for: gamma (1: no shrinkage), share of dead latents on validate rows, share of",
        "latents on in more than a tenth of the rows; and training seconds a run (one core, shared machine).",
        "",
        "| recipe | gamma | dead | often on | seconds |",
        "|---|---|---|---|---|",
    ]
    for name in order:
        by = {l0: [row for row in rows[name] if row["asked"] == l0 and "l0" in row] for l0 in levels}
        cells = [
            ", ".join(f"{_mean([row[field] for row in by[l0]]):.2f}" for l0 in levels) for field in ("gamma", "dead_frac", "often_frac")
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {_mean([row['seconds'] for row in rows[name] if 'seconds' in row]):.0f} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _draw(order: list[str], rows: dict[str, list[Row]], levels: list[int], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5.5), dpi=150)
    markers = "osD^vP"
    for index, name in enumerate(order):
        found = {l0: [row for row in rows[name] if row["asked"] == l0 and "l0" in row] for l0 in levels}
        x = [_mean([row["l0"] for row in found[l0]]) for l0 in levels]
        y = [_mean([row["fvu"] for row in found[l0]]) for l0 in levels]
        style = {"color": COLOURS[index % len(COLOURS)], "linestyle": "-" if index < len(COLOURS) else "--", "linewidth": 1.3}
        axes.plot(x, y, marker=markers[index % len(markers)], markersize=4, label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel="effective L0 (latents per row)", ylabel="FVU (lower is better)")
    axes.set_xticks(levels, [str(l0) for l0 in levels])
    axes.minorticks_off()
    ticks = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7.5, ncols=2, frameon=False)
    axes.set_title("Gate recipes brought to the same L0, mean of three seeds", fontsize=11)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    here = Path(__file__).parent.parent / "studies" / "gates"
    write_report(json.loads((here / "results.json").read_text()), here)
