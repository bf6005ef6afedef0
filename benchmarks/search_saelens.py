"""Contender (a) of `benchmarks.search`: Optuna around SAELens' trainers, one trial at a time on all cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsearch.activations import open_activations
from archsearch.training.memory import keep_memory
from archsearch.training.precision import best_precision
from benchmarks.search_peers import measured, scaled, train_saelens
from benchmarks.search_run import arguments
from benchmarks.search_space import Log, documents, search, space_of
from benchmarks.stopwatch import Stopwatch


def main() -> None:
    """Searches until it is killed."""
    given, watch = arguments(), Stopwatch()
    log = Log(given.folder, given.begun, watch)
    keep_memory()  # it gains as much from it as we do
    space = space_of(documents(given.seed))
    activations = watch.wrap("activations", open_activations)(space.activations)
    rows, validate = scaled(activations)
    autocast = best_precision("cpu") == "bfloat16"
    fit, measure = watch.wrap("training", train_saelens), watch.wrap("evaluation", measured)

    def make(document: dict[str, Any], folder: Path) -> dict[str, float]:
        return measure(fit(document, rows, given.seed, folder, autocast), validate)

    search(space, make, log)


if __name__ == "__main__":
    main()
