"""Designs brought to the same L0s: each one's learning rate is chosen on one seed, then it is trained with every seed at every L0.

A seed sets first weights and the order of the data, the same for every design, so that differences are taken in pairs. Resumable: finished
runs are kept in the folder's runs.jsonl.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsearch.search.provenance import provenance
from archsearch.training.member import Member
from benchmarks.grid import Row, run_grid

Key = tuple[str, float, int, int]
"""Design, learning rate, L0 asked for, seed."""


@dataclass(frozen=True)
class Matched:
    """What is trained: `document` returns the spec of a key; `tuned_at`: L0s at which the rate is chosen; `also` measures more of a run."""

    folder: Path
    names: Sequence[str]
    document: Callable[[str, float, int, int], dict[str, Any]]
    levels: Sequence[int]
    seeds: Sequence[int]
    rates: Sequence[float]
    tuned_at: Sequence[int]
    settings: dict[str, Any]
    also: Callable[[Member], Row] | None = None

    def run(self, activations: Any, report: Callable[[dict[str, Any], Path], None]) -> None:
        """Trains what is missing; writes results.json and the report after each seed, so that it can be looked at while the rest trains."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tuning = self._rows([(n, rate, l0, self.seeds[0]) for n in self.names for rate in self.rates for l0 in self.tuned_at], activations)
        rates = self.best_rates(tuning)
        for count in range(1, len(self.seeds) + 1):
            keys = [(name, rates[name], l0, seed) for seed in self.seeds[:count] for l0 in self.levels for name in self.names]
            final = self._rows(keys, activations)
            told = {
                "settings": {**self.settings, "levels": self.levels, "seeds": self.seeds[:count], "rates": self.rates},
                "provenance": provenance(activations, "cpu", "float32", "looped"),
                "rates": rates,
                "tuning": [_plain(key, row) for key, row in tuning.items()],
                "runs": [_plain(key, row) for key, row in final.items()],
            }
            (self.folder / "results.json").write_text(json.dumps(told, indent=1) + "\n")
            report(told, self.folder)

    def best_rates(self, rows: dict[Key, Row]) -> dict[str, float]:
        """Returns each design's learning rate of least mean log FVU, among rates that reached the L0s within a tenth if any did."""

        def score(name: str, rate: float) -> tuple[bool, float]:
            found = [(l0, rows[name, rate, l0, self.seeds[0]]) for l0 in self.tuned_at]
            if any("failure" in row for _, row in found):
                return True, math.inf
            missed = any(abs(row["l0"] / l0 - 1) > 0.1 for l0, row in found)
            return missed, sum(math.log(row["fvu"]) for _, row in found)

        return {name: min(self.rates, key=lambda rate: score(name, rate)) for name in self.names}

    def _rows(self, keys: list[Key], activations: Any) -> dict[Key, Row]:
        documents = {json.dumps(key): self.document(*key) for key in keys}
        rows = run_grid(documents, self.folder / "runs.jsonl", activations, self.also)
        return {key: rows[json.dumps(key)] for key in keys}


def trained(tree: dict[str, Any], rate: float, seed: int, tokens: int, batch: int) -> dict[str, Any]:
    """Returns a spec with another learning rate, seed (of first weights and the order of rows alike) and budget."""
    training = tree["training"]
    optimizer = {**training["optimizer"], "lr": rate}
    return {**tree, "training": {**training, "tokens": tokens, "batch": batch, "seed": seed, "data_seed": seed, "optimizer": optimizer}}


def _plain(key: Key, row: Row) -> Row:
    name, rate, l0, seed = key
    measured = {field: value for field, value in row.items() if field not in ("name", "run")}
    return {"recipe": name, "rate": rate, "asked": l0, "seed": seed, **measured, "run": row["run"]}
