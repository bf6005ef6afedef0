"""Trains the SAEs that `benchmarks.replay` learns from: `python -m benchmarks.replay_saes` writes replay_saes.json.

A study of random draws of benchmarks/search.yaml, none stopped: each is measured at a quarter and half of its run, at its end, and cut to
points. Goes on where it was stopped; every SAE takes some three seconds.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from archsearch.search.ledger import read_study
from archsearch.search.study import Options, run_study
from benchmarks.search_space import documents
from benchmarks.speed import machine

FILE = Path(__file__).with_name("replay_saes.json")
ENDS = {"lr": (0.001, 0.008), "relu": (0.6, 5), "gated": (0.7, 6), "jumprelu": (0.1, 4), "k": (5, 64), "bandwidth": (0.05, 0.5)}
"""Ranges of the holes of benchmarks/search.yaml: the learning rate, weights by gate, counts, the bandwidth."""


def branch(spec: dict[str, Any]) -> str:
    """Returns which branch of benchmarks/search.yaml an SAE is of."""
    return "matryoshka" if spec["graph"].get("level") else str(_gate(spec)["kind"])


def places(spec: dict[str, Any]) -> list[float]:
    """Returns where the values of an SAE's holes stand in their ranges, 0 to 1 on their log scales: first that which moves L0."""
    name, gate = branch(spec), _gate(spec)
    swept = _place(gate["k"], "k") if "k" in gate else _place(spec["losses"]["sparsity"]["weight"], name)
    bandwidth = [_place(gate["bandwidth"], "bandwidth")] if name == "jumprelu" else []
    return [swept, _place(spec["training"]["optimizer"]["lr"], "lr"), *bandwidth]


def _gate(spec: dict[str, Any]) -> dict[str, Any]:
    gate = spec["graph"]["gate"]
    return gate if isinstance(gate, dict) else {"kind": gate}


def _place(value: float, name: str) -> float:
    low, high = ENDS[name]
    return math.log(value / low) / math.log(high / low)


def saes_of(folder: Path) -> list[dict[str, Any]]:
    """Returns what is known of each SAE of a study: its branch and places, L0 and FVU by share of the run, and of its points."""
    found, record = list[dict[str, Any]](), read_study(folder)
    for trial in record.trials:
        rungs = {**record.climbed.rungs.get(trial.number, {}), 1.0: trial.measurements}
        if trial.state == "complete" and trial.copied_from is None and len(rungs) == 3:
            at = {str(frac): _pair(told) for frac, told in sorted(rungs.items())}
            own = {"branch": branch(trial.spec), "places": [round(place, 4) for place in places(trial.spec)]}
            found.append({**own, "at": at, "points": [_pair(point.measurements) for point in trial.points]})
    return found


def _pair(told: dict[str, float]) -> list[float]:
    return [float(f"{told['l0']:.5g}"), float(f"{told['fvu']:.5g}")]


def main() -> None:
    """Trains what is missing, and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saes", type=int, default=275, help="SAEs trained besides two baselines (275)")
    parser.add_argument("--folder", type=Path, default=FILE.with_suffix(""), help="where the study is kept (benchmarks/replay_saes)")
    given = parser.parse_args()
    data = documents(0)
    data["study"] |= {"trials": given.saes, "sweep": 1, "ladder": {"audit": 1.0}}
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "space.json").write_text(json.dumps(data))
    run_study(given.folder / "space.json", Options(out=given.folder / "study", device="cpu", sampler="random", asks=3))
    lines = ",\n".join(json.dumps(sae) for sae in saes_of(given.folder / "study"))
    FILE.write_text(f'{{"machine": {json.dumps(machine())}, "saes": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
