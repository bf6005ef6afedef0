"""Is a requested L0 reached? `python -m benchmarks.target_l0` asks gates and penalties for four L0s and writes target_l0.json.

Every branch of the shipped spaces, with its numbers in the middle of their ranges, is asked for L0 8, 16, 32 and 64
(`target_l0`) in 2,000 steps of 128 rows. What counts is effective L0 on validate rows at inference. Recipes are asked in
studies/gates. Resumable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archsearch.activations import open_activations
from archsearch.search.jobs import Draw
from archsearch.spec.space import TARGET, Space
from archsearch.training.memory import keep_memory
from benchmarks.grid import Row, run_grid

LEVELS = (8, 16, 32, 64)
STEPS, BATCH, WIDTH, RATE = 2000, 128, 512, 0.002
HERE = Path(__file__).parent
SPACES = ("gate_training", "prolu", "penalties")


class _Branch:
    """Takes one branch where it is there, else the first; numbers in the middle."""

    def __init__(self, picks: dict[str, str]):
        self.picks, self.middle = picks, Draw(0, 0, {})

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self.middle.suggest_float(name, low, high, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return self.middle.suggest_int(name, low, high, log=log)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.picks.get(name, choices[0])


def structures() -> dict[str, dict[str, Any]]:
    """Returns every structure by name, without an L0."""
    found: dict[str, dict[str, Any]] = {}
    for file in SPACES:
        space = Space.load(HERE.parent / "spaces" / f"{file}.yaml")
        for group in space.template.groups:
            for branch in group.branches:
                found[f"{file}: {group.name} {branch}"] = space.fill(_Branch({group.name: branch})).document
    return found


def asked(document: dict[str, Any], l0: int) -> dict[str, Any]:
    """Returns a structure at the budget of this benchmark, asked for an L0."""
    training = document["training"]
    optimizer = {**training["optimizer"], "lr": RATE}
    training = {**training, "tokens": STEPS * BATCH, "batch": BATCH, "optimizer": optimizer}
    return {**document, TARGET: l0, "width": WIDTH, "training": training}


def main() -> None:
    """Runs what is missing, writes the table, and prints what was missed by more than a tenth."""
    keep_memory()
    activations = open_activations(Space.load(HERE.parent / "spaces" / "gated.yaml").activations)
    documents = {f"{name} @ {l0}": asked(document, l0) for name, document in structures().items() for l0 in LEVELS}
    rows = run_grid(documents, HERE / "target_l0.jsonl", activations)
    table: dict[str, dict[str, Row]] = {}
    for name, row in rows.items():
        structure, _, l0 = name.rpartition(" @ ")
        table.setdefault(structure, {})[l0] = {
            key: row[key] for key in ("l0", "fvu", "dead_frac", "strength", "remark", "failure") if key in row
        }
    (HERE / "target_l0.json").write_text(json.dumps(table, indent=1) + "\n")
    off = {name: row["l0"] / float(name.rpartition(" @ ")[2]) - 1 for name, row in rows.items() if "l0" in row}
    missed = {name: share for name, share in off.items() if abs(share) > 0.1}
    print(f"{len(off) - len(missed)} of {len(rows)} within 10%")
    for name, share in sorted(missed.items(), key=lambda item: item[1]):
        print(f"  {name}: {rows[name]['l0']} ({share:+.0%}) {rows[name]['remark']}")


if __name__ == "__main__":
    main()
