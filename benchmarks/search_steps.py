"""What does a training step cost? `.venv-peer/bin/python -m benchmarks.search_steps` sets SAELens' beside ours; search_steps.json.

One step of 256 rows of each gate of benchmarks/search.yaml, 512 latents: milliseconds a step and SAE. SAELens: its own trainer's step, on
all cores or one, in 32 or (autocast) 16 bits, with glibc's thresholds raised as ours are or left alone. Ours: an SAE alone on one core,
and as many side by side as there are cores. All take turns in one run, so that ratios hold where a machine's speed drifts; medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsearch.assembler.parse import parse
from archsearch.spec.space import Space
from archsearch.training.looped import Looped
from archsearch.training.member import start
from archsearch.training.memory import keep_memory
from benchmarks.search_peers import MODEL, shuffled, trainer_of, training_sae
from benchmarks.search_space import documents, middle, space_of
from benchmarks.speed import machine

HERE = Path(__file__).parent
ROWS, STEPS, ROUNDS = 65536, 25, 9
CORES = os.cpu_count() or 1

Go = Callable[[int], None]
"""Takes a number of steps with every SAE of a case."""


def theirs(document: dict[str, Any], rows: Tensor, threads: int, autocast: bool = False) -> Go:
    """Returns SAELens' steps."""
    trainer = trainer_of(document, training_sae(document), rows, 0, autocast)
    batches = shuffled(rows, document["training"]["batch"], 0)

    def go(steps: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(steps):
            trainer.step(next(batches))
            trainer.n_training_steps += 1

    return go


def ours(document: dict[str, Any], rows: Tensor, count: int) -> Go:
    """Returns our steps with `count` SAEs side by side, a core each."""
    data = {"x": rows}
    members = [start(parse(document), data, data) for _ in range(count)]
    executor = Looped(CORES)

    def go(steps: int) -> None:
        torch.set_num_threads(CORES)
        executor.advance(members, steps)

    return go


def cases(space: Space, branch: str, rows: Tensor, kept: bool) -> dict[str, tuple[Go, int]]:
    """Returns what takes turns for a gate: how, and how many SAEs it steps at once."""
    document = middle(space, branch)
    document["training"]["tokens"] *= 100  # far from the end, where the rate falls
    if not kept:
        return {"SAELens, all cores, glibc's thresholds": (theirs(document, rows, CORES), 1)}
    return {
        "SAELens, all cores": (theirs(document, rows, CORES), 1),
        "SAELens, all cores, 16-bit": (theirs(document, rows, CORES, autocast=True), 1),
        "SAELens, one core": (theirs(document, rows, 1), 1),
        "ours, one core": (ours(document, rows, 1), 1),
        "ours, a core each": (ours(document, rows, CORES), CORES),
    }


def measured(kept: bool) -> dict[str, dict[str, float]]:
    """Returns milliseconds a step and SAE by gate and case."""
    if kept:
        keep_memory()
    rows = torch.randn(ROWS, MODEL, generator=torch.Generator().manual_seed(0))
    space, found = space_of(documents(0)), dict[str, dict[str, float]]()
    for branch in space.parameters()["gate"].values():
        taken: dict[str, list[float]] = {}
        going = cases(space, str(branch), rows, kept)
        for turn in range(ROUNDS + 1):
            for name, (go, count) in going.items():
                begun = time.perf_counter()
                go(STEPS)
                if turn:  # the first warms up
                    taken.setdefault(name, []).append((time.perf_counter() - begun) / STEPS / count * 1000)
        found[str(branch)] = {name: round(statistics.median(values), 2) for name, values in taken.items()}
    return found


def main() -> None:
    """Measures with raised thresholds, then in another process with glibc's own, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--default", action="store_true", help="leave glibc's thresholds alone, and only print (what the other process does)"
    )
    if parser.parse_args().default:
        print(json.dumps(measured(kept=False)))
        return
    run = subprocess.run([sys.executable, "-m", "benchmarks.search_steps", "--default"], capture_output=True, text=True, check=True)
    alone, kept = json.loads(run.stdout.splitlines()[-1]), measured(kept=True)
    told = {"machine": machine(), "milliseconds": {branch: {**kept[branch], **alone[branch]} for branch in kept}}
    (HERE / "search_steps.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
