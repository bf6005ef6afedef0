"""How good is a sampler, without training? `python -m benchmarks.replay` replays studies of benchmarks/search.yaml; replay.json.

A race has too few seeds to tell two samplers apart. Here studies run as they are, sampler, ladder, points and database, but what an SAE
comes to is interpolated between some that were trained once (`benchmarks.replay_saes`), with noise. Hypervolume is told against what has
been trained, in whole runs: a finished SAE counts `FINISHED` of them, since measuring and cutting take time too, a stopped one its share.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from archsearch.evaluation.hypervolume import hypervolume
from archsearch.evaluation.intervals import paired
from archsearch.search import runner
from archsearch.search.flight import Found
from archsearch.search.measuring import Measuring
from archsearch.search.records import Point, StudyRecord, feasible, standing
from archsearch.search.study import Options, run_study
from archsearch.training.looped import Looped
from benchmarks.replay_model import Model
from benchmarks.replay_saes import FILE, branch, places
from benchmarks.search_space import BAND, documents

HERE = Path(__file__).parent
SAMPLERS = ("tpe", "gp", "random")
FINISHED, RUNG = 1.23, 0.03
"""Whole runs that a finished SAE costs, measuring and cutting with it (shares of the cores' time in search.json), and a rung (assumed)."""

COSTS = (8, 12, 16, 20, 30, 40)
"""Whole runs after which hypervolume is told."""

NOISE = {"l0": 0.02, "fvu": 0.006}
"""Standard deviation of the noise, in logarithms (assumed)."""


@cache
def model() -> Model:
    """Returns what SAEs come to."""
    return Model(json.loads(FILE.read_text())["saes"])


def everything() -> list[tuple[float, float]]:
    """Returns L0 and FVU of every SAE that was trained for this, and of its points."""
    saes = json.loads(FILE.read_text())["saes"]
    return [(l0, fvu) for sae in saes for l0, fvu in (sae["at"]["1.0"], *sae["points"])]


class Crew:
    """A crew whose members are at their goals at once."""

    def __init__(self) -> None:
        self.there: list[tuple[Any, Any]] = []

    @property
    def pending(self) -> int:
        """Members that are to be waited for."""
        return len(self.there)

    def add(self, member: Any, until_frac: float, then: Any = None, rank: tuple[int, ...] = ()) -> None:
        """Brings a member to a share of its run, and measures it there."""
        member.frac = until_frac
        self.there.append((member, then(member) if then else None))

    def wait(self) -> list[tuple[Any, Any]]:
        """Returns who is at the goal."""
        there, self.there = self.there, []
        return there

    def close(self) -> None:
        """Nothing runs."""


def _start(self: runner.Runner, row: Any, members: dict[int, Any]) -> None:
    spec = SimpleNamespace(training=SimpleNamespace(tokens=row.spec["training"]["tokens"]))
    assembly = SimpleNamespace(spec=spec, receipt=SimpleNamespace(settled_frac=row.receipt["settled_frac"]))
    told = {"step": 0, "total_steps": 1, "failure": None, "remark": "", "history": [], "sae": None, "batches": SimpleNamespace(batch=0)}
    members[row.number] = SimpleNamespace(**told, assembly=assembly, run=row.run, document=row.spec)


def _noisy(run: str, name: str, value: float) -> float:
    return value * math.exp(random.Random(f"{run} {name}").gauss(0, NOISE[name]))


def _member(self: Measuring, member: Any) -> dict[str, float]:
    l0, fvu = model().at(branch(member.document), places(member.document), member.frac)
    return {"l0": _noisy(member.run, "l0", l0), "fvu": _noisy(member.run, "fvu", fvu)}


def _whole(self: Measuring, member: Any) -> Found:
    found, points = _member(self, member), list[Point]()
    own, what = (found["l0"], found["fvu"]), (branch(member.document), places(member.document))
    assert self.cutting is not None
    for level in self.cutting.near(own[0]):
        if (fvu := model().cut(*what, own, level)) is not None:
            told = {"l0": _noisy(f"{member.run} {level}", "l0", level), "fvu": fvu}
            points.append(Point(level, member.document, f"{member.run} {level}", told))
    return Found(found, tuple(points))


def replay(sampler: str, seed: int, sweep: int, trials: int) -> StudyRecord:
    """Returns a study in which nothing was trained."""
    data = documents(seed)
    data["study"] |= {"sweep": sweep, "trials": trials}
    folder = Path(tempfile.mkdtemp())
    (folder / "space.json").write_text(json.dumps(data))
    try:
        with (
            patch.object(runner.Runner, "_start", _start),
            patch.object(runner.Runner, "_save", lambda self, flight: None),
            patch.object(runner.Runner, "splice_best", lambda self: None),
            patch.object(runner.Weights, "keep", lambda self, number, sae: None),
            patch.object(Measuring, "member", _member),
            patch.object(Measuring, "whole", _whole),
            patch.object(Looped, "crew", lambda self, tick=None, stop=None: Crew()),
        ):
            return run_study(folder / "space.json", Options(out=folder / "study", device="cpu", sampler=sampler))
    finally:
        shutil.rmtree(folder)


def curve(record: StudyRecord) -> list[float]:
    """Returns the hypervolume after each of `COSTS`, trial by trial."""
    cost, told, points = 0.0, list[float](), list[tuple[float, float]]()
    for trial in sorted(record.trials, key=lambda trial: trial.number):
        rungs = sorted(record.climbed.rungs.get(trial.number, {}))
        cost += RUNG * len(rungs) + (FINISHED if trial.state == "complete" else rungs[-1] if rungs else 0.0)
        while len(told) < len(COSTS) and cost > COSTS[len(told)]:
            told.append(hypervolume(points, BAND))
        points += [(one.measurements["l0"], one.measurements["fvu"]) for one in standing([trial]) if feasible(one, BAND)]
    return told


def _run(job: tuple[str, int, int, int]) -> list[float]:
    torch.set_num_threads(1)
    return curve(replay(*job))


def table(found: dict[str, list[list[float]]]) -> str:
    """Returns mean hypervolume by sampler and cost, and the difference to the first sampler with its interval."""
    lines = ["| whole runs | " + " | ".join(map(str, COSTS)) + " |", "|---|" + "---:|" * len(COSTS)]
    reference = next(iter(found.values()))
    for name, curves in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{fmean(column):.3f}" for column in zip(*curves, strict=True)) + " |")
        if curves is not reference:
            lines.append(f"| {name} less {next(iter(found))} | " + " | ".join(_differences(curves, reference)) + " |")
    return "\n".join(lines)


def _differences(curves: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> list[str]:
    told = [paired([a - b for a, b in zip(*pair, strict=True)]) for pair in zip(zip(*curves), zip(*reference), strict=True)]
    return [f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})" for one in told]


def main() -> None:
    """Replays every sampler with every seed, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--samplers", nargs="+", default=list(SAMPLERS), help="what proposes structures; the others are compared with the first"
    )
    parser.add_argument("--seeds", type=int, default=48, help="seeds of each (48)")
    parser.add_argument("--sweep", type=int, default=2, help="sparsity levels of a structure (2)")
    parser.add_argument("--trials", type=int, default=80, help="SAEs of a study besides its baselines (80)")
    given = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    with ProcessPoolExecutor(torch.get_num_threads()) as pool:
        for sampler in given.samplers:
            jobs = [(sampler, seed, given.sweep, given.trials) for seed in range(given.seeds)]
            found[sampler] = list(pool.map(_run, jobs))
    rounded = {name: [[round(value, 4) for value in row] for row in rows] for name, rows in found.items()}
    whole = round(hypervolume(everything(), BAND), 4)
    told = {"sweep": given.sweep, "trials": given.trials, "costs": COSTS, "hypervolume": rounded, "everything": whole}
    (HERE / "replay.json").write_text(json.dumps(told) + "\n")
    print(table(found), f"\nAll SAEs that were trained, and their points: {whole:.3f}")


if __name__ == "__main__":
    main()
