"""How fast? `python -m benchmarks.speed` measures and writes benchmarks/speed.json.

- the default study in a fresh folder with an empty store: wall clock and peak memory, by the operating system's accounting;
- `archsearch --help`: median of five;
- one training step: members on a core each against all cores on one member after another; 16-bit against 32-bit products; glibc's default
  thresholds against the raised ones. Alternating in one run, medians: ratios hold where a machine's speed drifts.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEP = """
import sys, time, torch
from archsearch.assembler.parse import parse
from archsearch.training.looped import Looped, steps_of
from archsearch.training.member import start
from archsearch.training.memory import keep_memory
how, precision, cores = sys.argv[1:4]
if how != "default":
    keep_memory()
data = {"x": torch.randn(65536, 128, generator=torch.Generator().manual_seed(0))}
spec = {"width": 512, "graph": {"center": "pre_bias", "encoder": "linear_encoder", "gate": {"kind": "topk", "k": 32},
        "decoder": "linear_decoder"}, "training": {"tokens": 256000, "batch": 256}}
members = [start(parse(spec), data, data, precision=precision) for _ in range(4)]
executor = Looped()
if how == "python":
    executor.recordings.of = lambda run: None
def go(steps):
    if cores == "each":
        executor.advance(members, steps)
    else:
        for member in members:
            steps_of(member, steps, executor.recordings)
go(20)
begun = time.perf_counter()
go(100)
print((time.perf_counter() - begun) / 400 * 1000)
"""

CASES = {
    "a core each, 16-bit": ("kept", "bfloat16", "each"),
    "a core each, 32-bit": ("kept", "float32", "each"),
    "all cores on one, 32-bit": ("kept", "float32", "all"),
    "a core each, 32-bit, not recorded": ("python", "float32", "each"),
    "a core each, 32-bit, glibc's thresholds": ("default", "float32", "each"),
}


def steps(rounds: int = 3) -> dict[str, float]:
    """Returns milliseconds a step and member, medians over alternating rounds."""
    found: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, arguments in CASES.items():
            run = subprocess.run([sys.executable, "-c", STEP, *arguments], capture_output=True, text=True, check=True)
            found[name].append(float(run.stdout))
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def study() -> dict[str, Any]:
    """Runs the default study from nothing; returns seconds and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["archsearch", "study", "--space", "spaces/gated.yaml", "--out", f"{folder}/study"]
        environment = {**os.environ, "ARCHSEARCH_CACHE": f"{folder}/cache"}
        begun = time.perf_counter()
        subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], check=True, env=environment, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"seconds": round(seconds, 1), "peak_gib": round(peak, 2)}


def help_seconds() -> float:
    """Returns the median time of `archsearch --help`."""
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([Path(sys.executable).parent / "archsearch", "--help"], check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - begun)
    return round(statistics.median(found), 3)


def machine() -> dict[str, Any]:
    """Returns what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"processor": model, "cores": os.cpu_count(), "python": sys.version.split()[0]}


def main() -> None:
    """Measures everything and writes the figures."""
    data = {"machine": machine(), "study": study(), "help_seconds": help_seconds(), "step_ms": steps()}
    Path("benchmarks/speed.json").write_text(json.dumps(data, indent=1) + "\n")
    print(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
