"""What `benchmarks.search` found: hypervolume over time as search.json, a table as search.md, a picture as search.png."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from archsearch.evaluation.hypervolume import hypervolume
from archsearch.evaluation.intervals import paired
from archsearch.reporting.picture import COLOURS
from benchmarks.search_space import BAND, KINDS
from benchmarks.verdict_tables import table_head, table_row

NAMES = {
    "saelens": "(a) Optuna around SAELens",
    "ours": "(b) Optuna around our trainer",
    "study": "(c) archsearch, same holes",
    "study-l0": "(d) archsearch, asked for L0s",
}
REFERENCE, TARGET_FRAC = "saelens", 0.2
GRID, TIMES = 200, 5
"""Times at which curves are told, and at which contenders are compared."""

Step = tuple[float, float]
"""Seconds since the start, and the hypervolume from then on."""


def steps(saes: Sequence[Mapping[str, float]], cut: bool = True) -> list[Step]:
    """Returns when hypervolume grew, and to what; SAEs outside the band count for nothing, nor without `cut` those cut after training."""
    found: list[Step] = []
    points: list[tuple[float, float]] = []
    for sae in sorted(saes, key=lambda sae: sae["seconds"]):
        if sae.get("cut") and not cut:
            continue
        if not (BAND[0] <= sae["l0"] <= BAND[1] and math.isfinite(sae["fvu"])):
            continue
        points.append((sae["l0"], sae["fvu"]))
        volume = hypervolume(points, BAND)
        if volume > (found[-1][1] if found else 0.0):
            found.append((sae["seconds"], volume))
    return found


def at(curve: Sequence[Step], seconds: float) -> float:
    """Returns the hypervolume at a time."""
    return max((volume for moment, volume in curve if moment <= seconds), default=0.0)


def reached(curve: Sequence[Step], volume: float) -> float | None:
    """Returns when a curve first reached a hypervolume, or None."""
    return next((moment for moment, found in curve if found >= volume), None)


def report(folders: Mapping[Path, tuple[str, int]], seconds: float, machine: dict[str, Any], out: Path) -> str:
    """Writes data, table and picture, and returns the table."""
    told = {
        "seconds": seconds,
        "band": BAND,
        "machine": machine,
        "runs": [_run(folder, contender, seed) for folder, (contender, seed) in folders.items()],
    }
    others = [name for name in NAMES if name != REFERENCE and any(run["contender"] == name for run in told["runs"])]
    told["compared"] = [_compared(told["runs"], name, seconds) for name in others]
    told["sooner"] = [_sooner(told["runs"], name, seconds * index / TIMES) for name in others for index in range(1, TIMES + 1)]
    out.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    text = "\n".join(_table(told)) + "\n"
    out.with_suffix(".md").write_text(text)
    _draw(told, out.with_suffix(".png"))
    return text


def _run(folder: Path, contender: str, seed: int) -> dict[str, Any]:
    scores, where = json.loads((folder / "scores.json").read_text()), folder / KINDS
    curve, trained = steps(scores["saes"]), steps(scores["saes"], cut=False)
    return {
        "contender": contender,
        "seed": seed,
        **json.loads((folder / "run.json").read_text()),
        **{name: scores[name] for name in ("finished", "stopped")},
        "measured": len(scores["saes"]),
        "cut": sum(bool(sae.get("cut")) for sae in scores["saes"]),
        "off": max((sae["off"] for sae in scores["saes"]), default=0.0),
        "kinds": json.loads(where.read_text()) if where.exists() else {},
        "final": curve[-1][1] if curve else 0.0,
        "final_trained": trained[-1][1] if trained else 0.0,
        "curve": [[round(moment, 2), round(volume, 5)] for moment, volume in curve],
    }


def _compared(runs: Sequence[Mapping[str, Any]], name: str, seconds: float) -> dict[str, Any]:
    """Returns how soon a contender reached the reference's final hypervolume, and how far above it ended, in pairs of seeds.

    `budget_frac`: of the whole time the reference had; `own_frac`: of the time it took to get there itself, which is shorter.
    """
    theirs = {run["seed"]: run for run in runs if run["contender"] == REFERENCE and run["curve"]}
    rows = []
    for run in runs:
        other = theirs.get(run["seed"])
        if run["contender"] != name or other is None:
            continue
        moment = reached(run["curve"], other["final"])
        last = other["curve"][-1][0]
        fracs = {"budget_frac": None, "own_frac": None} if moment is None else {"budget_frac": moment / seconds, "own_frac": moment / last}
        above = {"above": run["final"] / other["final"] - 1, "above_trained": run["final_trained"] / other["final"] - 1}
        rows.append({"seed": run["seed"], "reached_seconds": moment, **fracs, **above})
    return {"contender": name, "seeds": rows} | {field: _interval(rows, field) for field in (*FIELDS, "above_trained")}


def _sooner(runs: Sequence[Mapping[str, Any]], name: str, seconds: float) -> dict[str, Any]:
    """Returns what share of the reference's first `seconds` a contender took to what the reference had reached by then, seed by seed."""
    theirs = {run["seed"]: at(run["curve"], seconds) for run in runs if run["contender"] == REFERENCE}
    shares = {}
    for run in runs:
        if run["contender"] == name and theirs.get(run["seed"]):
            moment = reached(run["curve"], theirs[run["seed"]])
            shares[run["seed"]] = None if moment is None else moment / seconds
    return {"contender": name, "seconds": seconds, "volume": sum(theirs.values()) / len(theirs) if theirs else 0.0, "shares": shares}


def _interval(rows: Sequence[Mapping[str, Any]], field: str) -> list[float] | None:
    """Returns mean, low and high (95% t interval) of a field; None where a seed has none."""
    values = [row[field] for row in rows]
    if not values or any(value is None for value in values):
        return None
    found = paired(values)
    return [found.mean, found.low, found.high] if len(values) > 1 else [found.mean, found.mean, found.mean]


def _table(told: Mapping[str, Any]) -> list[str]:
    seeds = len({run["seed"] for run in told["runs"]})
    machine = told["machine"]
    lines = [
        f"Hypervolume (octaves of L0 times FVU, at most {math.log2(BAND[1] / BAND[0]):.2f}; higher is better) after {told['seconds']:g} s,",
        f"{seeds} seeds, {machine['processor']}, {machine['cores']} cores; means with 95% t intervals over seeds.",
        "",
        *table_head(
            [
                "",
                "hypervolume",
                "against (a)",
                "time to (a)'s end, of its budget",
                "of its own time to it",
                "SAEs",
                "stopped early",
                "points",
            ]
        ),
    ]
    compared = {row["contender"]: row for row in told["compared"]}
    for name, title in NAMES.items():
        own = [run for run in told["runs"] if run["contender"] == name]
        if not own:
            continue
        row = compared.get(name, {})
        cells = [_cell(_interval(own, "final"), ".3f"), *(_cell(row.get(f), "+.1%" if f == "above" else ".1%") for f in FIELDS)]
        counts = [f"{sum(run[field] for run in own) / len(own):.0f}" for field in ("finished", "stopped", "cut")]
        lines.append(table_row([title, *cells, *counts]))
        if any(run["cut"] for run in own):
            trained = [_cell(_interval(own, "final_trained"), ".3f"), _cell(row.get("above_trained"), "+.1%"), "-", "-"]
            lines.append(table_row(["... without points", *trained, *counts[:2], "-"]))
    return [*lines, "", *_sooner_table(told["sooner"]), "", *_shares(told["runs"])]


def _sooner_table(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a table of when contenders reach what the reference has at several times; a seed that never does makes no mean."""
    names = list(dict.fromkeys(row["contender"] for row in told))
    lines = ["When they reach what (a) has after some seconds, as a share of these: mean over seeds, and the range.", ""]
    lines += table_head(["(a) after", "its hypervolume", *(NAMES[name] for name in names)])
    for seconds in dict.fromkeys(row["seconds"] for row in told):
        rows = {row["contender"]: row for row in told if row["seconds"] == seconds}
        volume = next(iter(rows.values()))["volume"]
        lines.append(table_row([f"{seconds:g} s", f"{volume:.3f}", *(_range(list(rows[name]["shares"].values())) for name in names)]))
    return lines


def _range(shares: Sequence[float | None]) -> str:
    there = [share for share in shares if share is not None]
    if not shares:
        return "-"
    if len(there) < len(shares):
        return f"{len(there)} of {len(shares)} seeds"
    return f"{sum(there) / len(there):.0%} ({min(there):.0%} to {max(there):.0%})"


FIELDS = ("above", "budget_frac", "own_frac")


def _cell(value: Sequence[float] | None, form: str) -> str:
    if value is None:
        return "-"
    mean, low, high = (format(number, form) for number in value)
    return mean if low == high else f"{mean} ({low} to {high})"


def _shares(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a table of where wall clock went; a study trains on one core an SAE, so that its seconds are divided by the cores."""
    kinds = ["imports", "activations", "training", "evaluation"]
    lines = ["Where the time went, shares of wall clock (training and evaluation of studies: of all cores' time):", ""]
    lines += table_head(["", *kinds, "the rest"])
    for name, title in NAMES.items():
        own = [run["kinds"] for run in runs if run["contender"] == name and run["kinds"]]
        if not own:
            continue
        shares = [sum(share(each, kind, name) for each in own) / len(own) for kind in kinds]
        lines.append(table_row([title, *(f"{value:.1%}" for value in (*shares, 1 - sum(shares)))]))
    return lines


def share(kinds: Mapping[str, float], kind: str, contender: str) -> float:
    """Returns the share of wall clock, or of the cores' time, a kind took."""
    cores = kinds.get("cores", 1) if contender.startswith("study") and kind in ("training", "evaluation") else 1
    return kinds.get(kind, 0.0) / kinds["wall"] / cores


def _draw(told: Mapping[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=150)
    times = [told["seconds"] * index / GRID for index in range(GRID + 1)]
    for index, (name, title) in enumerate(NAMES.items()):
        own = [run["curve"] for run in told["runs"] if run["contender"] == name]
        if not own:
            continue
        columns = [[at(curve, moment) for curve in own] for moment in times]
        found = [paired(column) for column in columns]
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(times, [one.mean for one in found], color=colour, label=title)
        if len(own) > 1:
            axes.fill_between(times, [one.low for one in found], [one.high for one in found], color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="wall clock (s), imports and harvest included", ylabel="hypervolume (higher is better)", xlim=(0, told["seconds"]))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
