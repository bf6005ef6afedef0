"""How fast does a search find a good front? `.venv-peer/bin/python -m benchmarks.search` races four contenders and writes search.json.

(a) Optuna around SAELens' trainers, one trial at a time on all cores; (b) the same loop around our trainer; (c) a study of ours on the same
space; (d) a study that asks for L0s in the place of weights and counts, which is how it comes. Same activations, space, ranges, baselines,
scaling, batch, tokens and cores; a process each, begun with an empty store and killed when its time is up, so that imports, harvest and all
else count. An evaluator of its own measures every finished SAE. Contenders take turns, seed by seed, so that drift of the machine hits all
alike. Resumable: finished runs are kept. What is drawn and compared is in benchmarks/search_report.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.search_report import report
from benchmarks.search_space import SAES, WEIGHTS
from benchmarks.speed import machine

HERE = Path(__file__).parent
CONTENDERS = {
    "saelens": ("benchmarks.search_saelens",),
    "study": ("benchmarks.search_study",),
    "ours": ("benchmarks.search_ours",),
    "study-l0": ("benchmarks.search_study", "--levels"),
}
"""Contenders in the order of their turns, and what runs them: (a), (c), (b), (d)."""

RUN = "run.json"
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Run:
    """One contender with one seed."""

    contender: str
    seed: int
    folder: Path

    def go(self, seconds: float, store: Path | None) -> None:
        """Runs it from nothing, or from a full store, until its time is up."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / SAES).mkdir(parents=True)
        cache = store or self.folder / "cache"
        module, *options = CONTENDERS[self.contender]
        load = os.getloadavg()[0]
        begun = time.time()
        told = ["--seed", str(self.seed), "--folder", str(self.folder), "--begun", repr(begun)]
        command = [sys.executable, "-m", module, *options, *told]
        environment = {**os.environ, "ARCHSEARCH_CACHE": str(cache)}
        with (self.folder / "output.txt").open("w") as output:
            child = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
            try:
                while child.poll() is None and time.time() < begun + seconds:
                    self._take(begun)
                    time.sleep(POLL_SECONDS)
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                ended = child.wait()
        self._take(begun)
        if ended != -signal.SIGKILL:
            raise SystemExit(f"{self.contender}, seed {self.seed}, ended by itself ({ended}); see {self.folder / 'output.txt'}")
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        (self.folder / RUN).write_text(json.dumps({"seconds": seconds, "load_before": round(load, 2)}) + "\n")

    def _take(self, begun: float) -> None:
        """Links the weights a study has just written, which it drops again once they leave its front."""
        for path in (self.folder / "study" / "saes").glob("*.safetensors"):
            kept = self.folder / SAES / path.stem / WEIGHTS
            if kept.exists():
                continue
            kept.parent.mkdir(exist_ok=True)
            try:
                os.link(path, kept)
            except FileNotFoundError:
                kept.parent.rmdir()  # dropped in this very moment
                continue
            (kept.parent / "seconds").write_text(f"{kept.stat().st_mtime - begun:.3f}")


def runs(folder: Path, seeds: int, contenders: list[str]) -> Iterator[Run]:
    """Yields the runs in the order of their turns."""
    for seed in range(seeds):
        for name in contenders:
            yield Run(name, seed, folder / f"{name}-{seed}")


def main() -> None:
    """Runs and scores what is missing, and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900, help="wall clock of a run (900)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each contender (5)")
    parser.add_argument("--folder", type=Path, help="where runs are kept (benchmarks/search-SECONDS)")
    parser.add_argument("--store", type=Path, help="activation store to begin with, to try this out; by default harvest counts")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--out", type=Path, default=HERE / "search", help="what is written, without its suffix (benchmarks/search)")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that a run is ended with this process
    folder = (given.folder or HERE / f"search-{given.seconds:g}").absolute()
    planned = list(runs(folder, given.seeds, given.contenders))
    for index, run in enumerate(planned):
        if not (run.folder / RUN).exists():
            print(f"run {index + 1} of {len(planned)}: {run.contender}, seed {run.seed}", flush=True)
            run.go(given.seconds, given.store and given.store.absolute())
        if not (run.folder / "scores.json").exists():
            subprocess.run([sys.executable, "-m", "benchmarks.search_score", str(run.folder)], check=True)
    print(report({run.folder: (run.contender, run.seed) for run in planned}, given.seconds, machine(), given.out))


if __name__ == "__main__":
    main()
