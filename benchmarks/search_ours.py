"""Contender (b) of `benchmarks.search`: the loop of (a) around our trainer, one trial at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from archsearch.activations import open_activations
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.memory import keep_memory
from archsearch.training.precision import best_precision
from benchmarks.search_run import arguments
from benchmarks.search_space import SPEC, WEIGHTS, Log, documents, search, space_of
from benchmarks.stopwatch import Stopwatch


def save(member: Member, folder: Path) -> None:
    """Writes spec and weights of a trained member."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC).write_text(json.dumps(resolved(member.assembly)))
    save_file({name: value.detach().contiguous() for name, value in member.sae.state_dict().items()}, folder / WEIGHTS)


def main() -> None:
    """Searches until it is killed."""
    given, watch = arguments(), Stopwatch()
    log = Log(given.folder, given.begun, watch)
    keep_memory()
    space = space_of(documents(given.seed))
    activations = watch.wrap("activations", open_activations)(space.activations)
    rows = {split: activations.split(split) for split in ("train", "calibrate", "validate")}

    def fit(document: dict[str, Any], folder: Path) -> Member:
        member = start(parse(document), rows["train"], rows["calibrate"], precision=best_precision("cpu"))
        train([member], Looped())
        save(member, folder)
        return member

    fit, measure = watch.wrap("training", fit), watch.wrap("evaluation", evaluate)

    def make(document: dict[str, Any], folder: Path) -> dict[str, float]:
        found = measure(fit(document, folder).sae, rows["validate"])
        return {"l0": found.l0, "fvu": found.fvu}

    search(space, make, log)


if __name__ == "__main__":
    main()
