"""The evaluator of `benchmarks.search`: `python -m benchmarks.search_score FOLDER` reads every finished SAE of a run and measures it anew.

One rule for all, in a process of its own: validate rows, inference mode, effective L0 = nonzero entries of the code per row, FVU about the
mean, sums in float64. SAELens' SAEs are used as `SAE.load_from_disk` gives them, ours as `load_sae` does, and what a study cut after
training is cut anew. Writes scores.json: seconds since the start of the run, L0, FVU, and how far what the contender itself had measured is
from that.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsearch.activations import open_activations
from archsearch.assembler.build import load_sae
from archsearch.assembler.parse import parse
from archsearch.assembler.sae import SAE
from archsearch.errors import ArchsearchError
from archsearch.search.ledger import read_study
from archsearch.spec.yaml import load
from archsearch.training.events import cut
from archsearch.training.memory import keep_memory
from benchmarks.search_peers import load_saelens, scaled
from benchmarks.search_space import FILE, LOG, SAES, SPEC, WEIGHTS, space_of

SCORES = "scores.json"
AGREE = 1e-3
"""How far a contender's own numbers may be from these, relative."""

Coder = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns code and reconstruction of rows."""


@torch.no_grad()
def score(coder: Coder, rows: Tensor, part: int = 2048) -> dict[str, float]:
    """Returns effective L0 and FVU of what `coder` makes of rows."""
    on, error = 0, 0.0
    for some in rows.split(part):
        code, made = coder(some)
        on += int(code.count_nonzero())
        error += float((made.double() - some.double()).square().sum())
    spread = float((rows.double() - rows.double().mean(0)).square().sum())
    return {"l0": on / len(rows), "fvu": error / spread}


def ours(folder: Path) -> SAE:
    """Returns an SAE of ours."""
    return load_sae(json.loads((folder / SPEC).read_text()), folder / WEIGHTS)


def coder_of(sae: SAE) -> Coder:
    """Returns what reads an SAE of ours: what `SAE.encode` and `SAE.reconstruct` do, in one pass."""

    def coder(rows: Tensor) -> tuple[Tensor, Tensor]:
        signals = sae.signals(sae.scale({"x": rows}))
        return sae.codes(signals), sae.unscale(sae.outputs(signals))["x"]

    return coder


def theirs(folder: Path) -> Coder:
    """Returns what reads an SAE of SAELens."""
    sae = load_saelens(folder)

    def coder(rows: Tensor) -> tuple[Tensor, Tensor]:
        code = sae.encode(rows)
        return code, sae.decode(code)

    return coder


def finished(folder: Path) -> list[dict[str, Any]]:
    """Returns a line for each finished SAE of a run: from its log, or for a study from its ledger and when its weights appeared."""
    if (folder / LOG).exists():
        return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    try:
        trials = {trial.number: trial for trial in read_study(folder / "study").trials}
    except ArchsearchError:
        return []  # killed before there was one
    found = []
    for path in sorted((folder / SAES).glob(f"*/{WEIGHTS}")):
        trial = trials[int(path.parent.name)]
        (path.parent / SPEC).write_text(json.dumps(trial.spec))
        told = {name: trial.measurements[name] for name in ("l0", "fvu") if name in trial.measurements}
        points = [{"spec": point.spec, **{name: point.measurements[name] for name in ("l0", "fvu")}} for point in trial.points]
        found.append({"seconds": float((path.parent / "seconds").read_text()), "name": path.parent.name, **told, "points": points})
    return found


def counted(folder: Path) -> dict[str, int]:
    """Returns how many SAEs a run finished, and how many it stopped early."""
    if (folder / LOG).exists():
        return {"finished": len(finished(folder)), "stopped": 0}
    try:
        states = [trial.state for trial in read_study(folder / "study").trials if trial.copied_from is None]
    except ArchsearchError:
        states = []
    return {"finished": states.count("complete"), "stopped": states.count("stopped")}


def scores(folder: Path) -> dict[str, Any]:
    """Returns the scores of a run, by rising time; what is `cut` is an SAE at one of its points, cut anew from calibrate rows.

    Raises:
        AssertionError: a contender's own number is off by more than `AGREE`.
    """
    activations = open_activations(space_of(load(FILE).data).activations)
    plain, times_factor = activations.split("validate")["x"].float(), scaled(activations)[1]
    found = []

    def add(line: dict[str, Any], claimed: dict[str, float], told: dict[str, float], cut: bool) -> None:
        off = max((abs(told[name] / claimed[name] - 1) for name in ("l0", "fvu") if claimed.get(name)), default=0.0)
        assert off <= AGREE or not math.isfinite(claimed["fvu"]), f"{line['name']}: measured {told}, its contender {claimed}"
        found.append({"seconds": line["seconds"], "name": line["name"], "cut": cut, **told, "off": off})

    for line in sorted(finished(folder), key=lambda line: line["seconds"]):
        place = folder / SAES / line["name"]
        if not (place / SPEC).exists():
            add(line, line, score(theirs(place), times_factor), cut=False)
            continue
        sae, points = ours(place), line.get("points", [])
        add(line, line, score(coder_of(sae), plain), cut=False)
        specs = [parse(point["spec"]) for point in points]
        for point, (made, _) in zip(points, cut(sae, specs, activations.split("calibrate")), strict=True):
            add(line, point, score(coder_of(made.sae), plain), cut=True)
    return {"saes": found, **counted(folder)}


def main() -> None:
    """Scores the runs named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="+", type=Path)
    keep_memory()
    for folder in parser.parse_args().folder:
        (folder / SCORES).write_text(json.dumps(scores(folder), indent=1) + "\n")


if __name__ == "__main__":
    main()
