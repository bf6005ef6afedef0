"""What the contenders of `benchmarks.search` share: the space of a seed, its baselines, the loop a user of Optuna writes, and the log."""

from __future__ import annotations

import copy
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch

from archsearch.blocks.catalogue import catalogue
from archsearch.search.jobs import Draw, baseline_drafts
from archsearch.search.study import baseline_trees
from archsearch.spec.space import Space
from archsearch.spec.template import Template
from archsearch.spec.yaml import Document, load
from benchmarks.stopwatch import Stopwatch

FILE = Path(__file__).with_name("search.yaml")
BAND = (4.0, 80.0)
LEVELS = (5, 12, 27, 64)
"""L0s of the contender that asks for them: those the others' baselines are swept over."""

SAES, LOG, KINDS, SPEC, WEIGHTS = "saes", "log.jsonl", "kinds.json", "spec.json", "weights.safetensors"
"""Names inside the folder of a run: finished SAEs, a line for each, where the time went; and inside that of an SAE of ours."""

Make = Callable[[dict[str, Any], Path], dict[str, float]]
"""Trains a document, writes what is used at inference to a folder, and returns what was measured (`l0`, `fvu`)."""


def documents(seed: int, levels: tuple[int, ...] = ()) -> dict[str, Any]:
    """Returns the space of a seed as plain data; with `levels` every structure is brought to those L0s, whatever its weights or counts."""
    data = copy.deepcopy(load(FILE).data)
    data["study"]["seed"] = seed
    for sae in (data["sae"], *data["baselines"].values()):
        sae["training"] |= {"seed": seed, "data_seed": seed}
    if levels:
        data["study"]["sweep"] = {"l0": list(levels)}
        data["variants"], data["baselines"] = _fixed(data["variants"]), _fixed(data["baselines"])
    return data


class _Branch(Draw):
    """The middle of a branch."""

    def __init__(self, branch: str):
        super().__init__(0, 0, {})
        self.branch = branch

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.branch


def middle(space: Space, branch: str) -> dict[str, Any]:
    """Returns the middle of a branch of the space."""
    return space.fill(_Branch(branch)).document


def space_of(data: dict[str, Any]) -> Space:
    """Returns a space of plain data."""
    return Space.read(Document(data))


def _fixed(node: Any) -> Any:
    """Returns a tree with the middle of each penalty's weight and each gate's count in the place of its range."""
    if not isinstance(node, dict):
        return node
    found = {name: _fixed(value) for name, value in node.items()}
    for name in ("weight", "k"):
        hole = node.get(name)
        if isinstance(hole, dict):
            low, high = next(iter(hole[kind] for kind in ("float", "int") if kind in hole))
            found[name] = round(math.sqrt(low * high)) if name == "k" else float(f"{math.sqrt(low * high):.3g}")
    return found


def baselines(space: Space) -> Iterator[dict[str, Any]]:
    """Yields the baselines of a study of ours as parameters of the space itself; each is a branch of it."""
    names = list(space.parameters())
    for branch, tree in baseline_trees(space).items():
        template = Template.read(tree)
        hole = space.sparsity_hole(template.fill(Draw(0, 0, {})), catalogue().sparsity)
        assert hole is not None
        for draft in baseline_drafts(branch, template, hole, 0, 0, space.study.levels, space.study.seed):
            own = next(name for name in names if name.startswith(f"gate@{branch}.") and name.endswith(hole))
            yield {"gate": branch, own: _at(draft.document, hole), "training.optimizer.lr": draft.document["training"]["optimizer"]["lr"]}


def _at(node: Any, path: str) -> Any:
    for step in path.split("."):
        node = node[step]
    return node


@dataclass
class Log:
    """Writes a line for every finished SAE, and where the time went so far; `begun`: when the process was started (Unix time)."""

    folder: Path
    begun: float
    watch: Stopwatch

    def __post_init__(self) -> None:
        """Counts what has passed already as imports."""
        self.cores = torch.get_num_threads()
        self.watch.add("imports", self.seconds)

    @property
    def seconds(self) -> float:
        """Seconds since the process was started."""
        return time.time() - self.begun

    def add(self, name: str, found: dict[str, float]) -> None:
        """Writes a line."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seconds": round(self.seconds, 3), "name": name, **found}) + "\n")
        self.kinds()

    def kinds(self) -> None:
        """Writes where the time went; whole or not at all, since the process may be killed at any moment."""
        partial = self.folder / f"{KINDS}.partial"
        told = {"wall": round(self.seconds, 3), "cores": self.cores, **self.watch.kinds()}
        partial.write_text(json.dumps(told) + "\n")
        partial.replace(self.folder / KINDS)


def search(space: Space, make: Make, log: Log) -> None:
    """Runs the loop until the process is killed: one trial at a time, TPE on two objectives, outside the band is infeasible.

    Samplers learn from the baselines too, which are asked first.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=space.study.seed)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    for params in baselines(space):
        study.enqueue_trial(params)
    low, high = (math.log2(edge) for edge in BAND)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        name = f"{trial.number:04d}"
        found = make(space.fill(trial).document, log.folder / SAES / name)
        level = math.log2(max(found["l0"], 2**-10))
        trial.set_constraint("band", max(low - level, level - high))
        log.add(name, found)
        return level, found["fvu"]

    study.optimize(objective)
