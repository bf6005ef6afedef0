"""Which gate recipe rebuilds best at equal L0? `python -m benchmarks.gates` trains, measures, and writes studies/gates/.

Every gate recipe is brought to effective L0 8, 16, 32 and 64 (`target_l0`) at width 512 on 1M tokens in batches of 512. Its learning rate
is chosen on seed 0 at L0 16; then it is trained with three seeds at each L0. A seed sets first weights and the order of the data, the
same for every recipe, so that differences are taken in pairs. Resumable: finished runs are kept in studies/gates/runs.jsonl.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from archsearch.activations import open_activations
from archsearch.recipes import recipe
from archsearch.search.provenance import provenance
from archsearch.spec.space import TARGET, Space
from archsearch.training.memory import keep_memory
from benchmarks.gates_report import write_report
from benchmarks.grid import Row, run_grid

RECIPES = (
    "relu_l1",
    "relu_l1_april",
    "relu_sqrt",
    "relu_p_annealed",
    "prolu",
    "gated",
    "gated_ri_l1",
    "jumprelu",
    "jumprelu_tanh",
    "topk",
    "abs_topk",
    "groupmax",
    "batch_topk",
    "feature_choice",
    "matryoshka_batch_topk",
)
LEVELS, SEEDS, RATES, TUNED_AT = (8, 16, 32, 64), (0, 1, 2), (0.0015, 0.003, 0.006, 0.012), (16,)
WIDTH, TOKENS, BATCH = 512, 1_000_000, 512
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "studies" / "gates"

Key = tuple[str, float, int, int]
"""Recipe, learning rate, L0 asked for, seed."""


def document(name: str, rate: float, l0: int, seed: int) -> dict[str, Any]:
    """Returns a recipe at this study's width and budget, asked for an L0."""
    tree = recipe(name)
    training = tree["training"]
    optimizer = {**training["optimizer"], "lr": rate}
    budget = {"tokens": TOKENS, "batch": BATCH, "seed": seed, "data_seed": seed, "optimizer": optimizer}
    return {**tree, TARGET: l0, "width": WIDTH, "training": {**training, **budget}}


def run(keys: list[Key], activations: Any) -> dict[Key, Row]:
    """Returns what was measured of each run, training those not there yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = run_grid({json.dumps(key): document(*key) for key in keys}, FOLDER / "runs.jsonl", activations)
    return {key: rows[json.dumps(key)] for key in keys}


def best_rates(rows: dict[Key, Row]) -> dict[str, float]:
    """Returns each recipe's learning rate of least mean log FVU, among rates that reached the L0s within a tenth if any did."""

    def score(name: str, rate: float) -> tuple[bool, float]:
        found = [(l0, rows[name, rate, l0, SEEDS[0]]) for l0 in TUNED_AT]
        if any("failure" in row for _, row in found):
            return True, math.inf
        missed = any(abs(row["l0"] / l0 - 1) > 0.1 for l0, row in found)
        return missed, sum(math.log(row["fvu"]) for _, row in found)

    return {name: min(RATES, key=lambda rate: score(name, rate)) for name in RECIPES}


def main() -> None:
    """Runs what is missing and writes results and report."""
    keep_memory()
    activations = open_activations(Space.load(ROOT / "spaces" / "gated.yaml").activations)
    tuning = run([(name, rate, l0, SEEDS[0]) for name in RECIPES for rate in RATES for l0 in TUNED_AT], activations)
    rates = best_rates(tuning)
    for count in range(1, len(SEEDS) + 1):  # a report after each seed: what is there can be looked at while the rest trains
        keys = [(name, rates[name], l0, seed) for seed in SEEDS[:count] for l0 in LEVELS for name in RECIPES]
        final = run(keys, activations)
        told = {
            "settings": {"width": WIDTH, "tokens": TOKENS, "batch": BATCH, "levels": LEVELS, "seeds": SEEDS[:count], "rates": RATES},
            "provenance": provenance(activations, "cpu", "float32", "looped"),
            "rates": rates,
            "tuning": [_plain(key, row) for key, row in tuning.items()],
            "runs": [_plain(key, row) for key, row in final.items()],
        }
        (FOLDER / "results.json").write_text(json.dumps(told, indent=1) + "\n")
        write_report(told, FOLDER)


def _plain(key: Key, row: Row) -> Row:
    name, rate, l0, seed = key
    measured = {field: value for field, value in row.items() if field not in ("name", "run")}
    return {"recipe": name, "rate": rate, "asked": l0, "seed": seed, **measured, "run": row["run"]}


if __name__ == "__main__":
    main()
