"""What a study costs besides training and evaluation: `python -m benchmarks.overhead` measures and writes overhead.json.

Studies on SQLite with 20 holes (benchmarks/overhead.yaml) are filled with made-up trials, 1,000 and 5,000 of them. There:

- ask and tell of a structure at four sparsity levels, with the calls a study makes: what the sampler takes (its model is fitted once, for
  the first level), what Optuna's storage and the ledger take, and how long all of it takes;
- a study that is resumed there and runs some structures more on SAEs that train in no time: wall clock of the coordinator a trial, waiting
  for training left out, with all that a study does beside it (drawing, building, writing, judging, telling, keeping weights), and what
  share of wall clock that is where a trial trains for 30 s on a core;
- how long it takes to open the study again.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import CategoricalDistribution, IntDistribution, json_to_distribution

from archsearch.activations import open_activations
from archsearch.blocks.catalogue import catalogue
from archsearch.search.jobs import Draft, Setting, levels_of
from archsearch.search.ledger import DATABASE, Ledger, database_url
from archsearch.search.sampler import Sampling
from archsearch.search.study import Options, run_study
from archsearch.spec.space import Space
from archsearch.training.looped_crew import LoopedCrew
from benchmarks.speed import machine
from benchmarks.stopwatch import Stopwatch

HERE = Path(__file__).parent
FILE = HERE / "overhead.yaml"
SIZES = (1000, 5000)
ASKS = 6
"""Structures that are asked, of four levels each."""
TRIAL_SECONDS = 30
RIGHT = {"archsearch:run": "0" * 64, "archsearch:words": "topk, k 32; lr 0.001", "archsearch:baseline": ""}


def fill(database: Path, count: int) -> None:
    """Adds made-up trials to the database of a study until it has `count` of them: copies of its last one, with other numbers."""
    chance = random.Random(0)
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        last = _row(connection, "select * from archsearch_trials order by number desc limit 1")
        study = _row(connection, "select study_id from studies where study_name = 'overhead'")["study_id"]
        told = _row(connection, f"select * from trials where study_id = {study} and number = {last['optuna_number']}")
        rung = _row(connection, f"select * from archsearch_rungs where trial_id = {last['id']} and frac = 1.0")
        parts = {name: _rows(connection, f"select * from {name} where trial_id = {told['trial_id']}") for name in OWN}
        free = {name: _row(connection, f"select max({key}) as most from {name}")["most"] for name, key in KEYS.items()}
        tables: dict[str, list[dict[str, Any]]] = {name: [] for name in KEYS}
        for step, number in enumerate(range(last["number"] + 1, count), start=1):
            trial = _Made(chance, free["trials"] + step, free["archsearch_trials"] + step)
            tables["trials"].append({**told, "trial_id": trial.told, "number": last["optuna_number"] + step})
            tables["trial_params"] += [{**row, "trial_id": trial.told, **trial.drawn(row)} for row in parts["trial_params"]]
            tables["trial_values"] += [
                {**row, "trial_id": trial.told, "value": trial.values[row["objective"]]} for row in parts["trial_values"]
            ]
            for name in ("trial_user_attributes", "trial_system_attributes"):
                tables[name] += [{**row, "trial_id": trial.told, **trial.attribute(row)} for row in parts[name]]
            place = {
                "id": trial.id,
                "number": number,
                "ask": number // 4,
                "level": number % 4,
                "optuna_number": last["optuna_number"] + step,
            }
            tables["archsearch_trials"].append({**last, **place, "params": json.dumps(trial.params), "run": f"{number:064x}"})
            tables["archsearch_rungs"].append({**rung, "trial_id": trial.id, "measurements": trial.measured(rung)})
        for name, rows in tables.items():
            _insert(connection, name, rows, KEYS[name] if name not in ("trials", "archsearch_trials") else "")


OWN = ("trial_params", "trial_values", "trial_user_attributes", "trial_system_attributes")
"""Optuna's tables of what belongs to a trial."""

KEYS = {
    "trials": "trial_id",
    "trial_params": "param_id",
    "trial_values": "trial_value_id",
    "trial_user_attributes": "trial_user_attribute_id",
    "trial_system_attributes": "trial_system_attribute_id",
    "archsearch_trials": "id",
    "archsearch_rungs": "id",
}
"""Tables that are filled, with their keys."""


@dataclass
class _Made:
    """One made-up trial: `told`, its key in Optuna's table, and `id`, in ours."""

    chance: random.Random
    told: int
    id: int
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        l0 = 0.25 * 60 ** self.chance.random()
        self.values = (math.log2(l0), 0.9 - 0.1 * math.log2(l0 / 0.25) + self.chance.uniform(0, 0.1))

    def drawn(self, row: dict[str, Any]) -> dict[str, Any]:
        distribution = json_to_distribution(row["distribution_json"])
        inside = _uniform(distribution, self.chance)
        self.params[row["param_name"]] = distribution.to_external_repr(inside)
        return {"param_value": inside}

    def attribute(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"value_json": "-0.5"} if row["key"].startswith("constraint") else {}

    def measured(self, rung: dict[str, Any]) -> str:
        return json.dumps({**json.loads(rung["measurements"]), "l0": 2 ** self.values[0], "fvu": self.values[1]})


def _uniform(distribution: Any, chance: random.Random) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return float(chance.randrange(len(distribution.choices)))
    if isinstance(distribution, IntDistribution):
        return float(chance.randint(distribution.low, distribution.high))
    low, high = distribution.low, distribution.high
    return math.exp(chance.uniform(math.log(low), math.log(high))) if distribution.log else chance.uniform(low, high)


def _rows(connection: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query)]


def _row(connection: sqlite3.Connection, query: str) -> dict[str, Any]:
    return _rows(connection, query)[0]


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]], left_out: str) -> None:
    """Writes rows; the key named is left to the database."""
    if rows:
        columns = [name for name in rows[0] if name != left_out]
        places = ", ".join("?" for _ in columns)
        values = [[row[name] for name in columns] for row in rows]
        connection.executemany(f"insert into {table} ({', '.join(columns)}) values ({places})", values)


class Asking:
    """Asks and tells as a study does, and times the parts."""

    def __init__(self, folder: Path):
        self.space, url = Space.load(FILE), database_url(folder)
        study = self.space.study
        ledger = Ledger.open(url, self.space.name)
        assert ledger is not None
        self.ledger = ledger
        where = (url, self.space.name, "tpe", study.seed, tuple(study.objectives), study.band)
        self.sampling = Sampling(*where, holes=self.space.parameters())
        self.setting = Setting(8, "0" * 64, "float32")
        self.hole = "losses.sparsity.weight"
        self.times: dict[str, list[float]] = {}

    def _timed(self, name: str, call: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        found = call()
        self.times[name][-1] += 1000 * (time.perf_counter() - begun)
        return found

    def ask(self, ask: int) -> None:
        """Asks a structure at its four levels and tells what came of it."""
        for name in PARTS:
            self.times.setdefault(name, []).append(0.0)
        trial = self._timed("first ask, with the fit", lambda: self._draw(lambda: self.sampling.ask(ask)))
        drafts = [trial]
        values = levels_of(self.space.parameters()[self.hole].hole, trial.params[self.hole], 4)
        for value in values[1:]:
            given = {**trial.params, self.hole: value}
            drafts.append(self._timed("asks of the other levels", lambda given=given: self._draw(lambda: self.sampling.ask_fixed(given))))
        first = self._timed("ledger", self.ledger.count)
        rows = self._timed("building on the meta device", lambda: [d.row(first + i, self.setting) for i, d in enumerate(drafts)])
        numbers = [row.number for row in rows]
        told = [draft.optuna_number for draft in drafts]
        self._timed("ledger", lambda: self.ledger.add_trials(rows))
        found = {"l0": 4.0, "fvu": 0.5}
        for number in numbers:
            self._timed("ledger", lambda number=number: self.ledger.finish(number, "complete", found))
        for number in told:
            self._timed("tells", lambda number=number: self.sampling.tell(number, found, RIGHT))
        self._timed("ledger", lambda: self.ledger.told(numbers))

    def _draw(self, ask: Callable[[], Any]) -> Draft:
        trial = ask()
        filled = self.space.fill(trial)
        return Draft(0, 0, filled.document, filled.params, None, trial.number)


PARTS = ("first ask, with the fit", "asks of the other levels", "tells", "ledger", "building on the meta device")


def asked(folder: Path) -> dict[str, float]:
    """Returns milliseconds of the parts of an ask and its tells, medians; `ask and tell`: what goes through the sampler's side."""
    asking = Asking(folder)
    assert asking.space.sparsity_hole(asking.space.fill(asking.sampling.ask(0)), catalogue().sparsity) == asking.hole
    for ask in range(1, ASKS + 1):
        asking.ask(ask)
    found = {name: statistics.median(values) for name, values in asking.times.items()}
    sums = [sum(parts) for parts in zip(*(asking.times[name] for name in PARTS[:3]), strict=True)]
    return {name: round(value, 1) for name, value in {**found, "ask and tell": statistics.median(sums)}.items()}


def resumed(folder: Path, count: int) -> dict[str, float]:
    """Goes on with a study for some structures; returns what the coordinator did beside waiting, a trial, and the share that would be."""
    watch, main = Stopwatch(), threading.main_thread()
    watch.method("waiting", LoopedCrew, "wait")
    opening = time.perf_counter()
    begun: list[float] = []
    waited: list[float] = []

    def observe(status: Any) -> None:
        assert threading.current_thread() is main
        if status.doing.startswith("training") and not begun:  # everything is open, and the first structure is drawn
            begun.append(time.perf_counter())
            waited.append(watch.seconds["waiting"])

    run_study(FILE, Options(out=folder, trials=count + 4 * ASKS), observe)
    ended, trials = time.perf_counter(), 4 * ASKS
    seconds = (ended - begun[0] - (watch.seconds["waiting"] - waited[0])) / trials
    return {
        "opening_seconds": round(begun[0] - opening, 2),
        "seconds_a_trial": round(seconds, 4),
        "share": round(seconds * torch.get_num_threads() / TRIAL_SECONDS, 4),
    }


def main() -> None:
    """Measures and writes the figures."""
    space = Space.load(FILE)
    holes = len(space.parameters())
    open_activations(space.activations)
    told: dict[str, Any] = {"machine": machine(), "holes": holes, "levels": 4, "sizes": {}}
    for count in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run_study(FILE, Options(out=folder))
            fill(folder / DATABASE, count)
            session = resumed(folder, count)
            told["sizes"][count] = {"milliseconds": asked(folder), **session}
            print(json.dumps({count: told["sizes"][count]}, indent=1), flush=True)
    (HERE / "overhead.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
