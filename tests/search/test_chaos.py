"""Killed without warning at random moments, a study ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from archsearch.search.ledger import database_url, read_study
from tests.search.test_study import essence

RUN = """
import sys
from pathlib import Path
from archsearch.search.study import Options, run_study
run_study(Path(sys.argv[1]), Options(out=Path(sys.argv[2]), precision="float32", device="cpu", trials=18))
"""


def begin(space: Path, folder: Path, errors: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(space), str(folder)], stderr=errors)


@pytest.mark.chaos
def test_killed_at_random_moments_it_is_the_same_study(space: Path, tmp_path: Path) -> None:
    # Rungs, so that what was killed goes on from a checkpoint, and decides there as it would have.
    space.write_text(space.read_text().replace("band: [1, 8]", "band: [1, 8], ladder: {rungs: [0.25, 0.5], eta: 2, audit: 0.3}"))
    whole = begin(space, tmp_path / "whole")
    begun = time.monotonic()
    assert whole.wait() == 0
    span = time.monotonic() - begun
    draw = random.Random(0)
    for _ in range(20):
        process = begin(space, tmp_path / "killed")
        try:
            process.wait(timeout=draw.uniform(0.3, 1.0) * span)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    last = begin(space, tmp_path / "killed", subprocess.PIPE)
    _, said = last.communicate()
    assert last.returncode == 0, said.decode()
    record = read_study(tmp_path / "killed")
    assert essence(record) == essence(read_study(tmp_path / "whole"))
    states = [trial.state for trial in record.trials]
    assert set(states) == {"complete", "stopped"} and states.count("stopped") >= 2
    told = optuna.load_study(study_name="tiny", storage=database_url(tmp_path / "killed")).trials
    assert not [trial.number for trial in told if not trial.state.is_finished()]
    assert sum(trial.state.name == "COMPLETE" for trial in told) == sum(t.state == "complete" and not t.baseline for t in record.trials)
    assert not list((tmp_path / "killed" / "checkpoints").glob("*"))
