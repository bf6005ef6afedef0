"""Contenders (c) and (d) of `benchmarks.search`: a study of ours, over the weights and counts of the space or (`--levels`) over L0."""

from __future__ import annotations

import json

from archsearch.activations import open_activations
from archsearch.evaluation.metrics import evaluate_cuts
from archsearch.search.records import Status
from archsearch.search.study import Options, run_study
from archsearch.training import looped
from archsearch.training.events import cut
from benchmarks.search_run import arguments
from benchmarks.search_space import LEVELS, Log, documents
from benchmarks.stopwatch import Stopwatch


def main() -> None:
    """Searches until it is killed. Its weights are taken from its folder as they appear, by whoever started it."""
    given, watch = arguments(), Stopwatch()
    log = Log(given.folder, given.begun, watch)
    watch.function("training", looped.steps_of)
    watch.function("evaluation", evaluate_cuts)
    watch.function("evaluation", cut)
    watch.function("activations", open_activations)
    path = given.folder / "space.json"
    path.write_text(json.dumps(documents(given.seed, LEVELS if given.levels else ()), indent=1))
    told = [0.0]

    def observe(status: Status) -> None:
        if log.seconds > told[0] + 1:
            told[0] = log.seconds
            log.kinds()

    run_study(path, Options(out=given.folder / "study", device="cpu", sampler="gp"), observe)


if __name__ == "__main__":
    main()
