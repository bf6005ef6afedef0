"""`status` from another terminal, while a study runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from archsearch.reporting.progress import FILE, SECONDS, noted, progress_of
from archsearch.search.ledger import read_study
from archsearch.search.lock import only_one
from archsearch.search.records import Status
from tests.cli.conftest import Run


@pytest.fixture
def going(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of the small study, set back to where two of its trials still train."""
    shutil.copytree(finished, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    folder = tmp_path / "place" / "studies" / "tiny"
    with sqlite3.connect(folder / "study.db") as database:
        database.execute("update archsearch_trials set state = 'running' where number >= 4")
        database.execute("update archsearch_studies set stopped = ''")
    database.close()
    return folder


def test_it_says_what_runs_how_far_it_is_and_what_is_won(going: Path, run: Run) -> None:
    tell = noted(going, lambda status: None)
    with only_one(going):
        tell(Status("training 2 SAEs", 4, 6, 0.0, 12_000.0, 90.0))
        told = run("status", "tiny")
        data = json.loads(run("status", "tiny", "--json").out)
    assert "now: training 2 SAEs, 4/6 trials, 12k tokens/s, 1 min 30 s left (0 s ago)" in told.out
    assert "running: trial 4, topk" in told.out and "running: trial 5, topk" in told.out
    assert "hypervolume " in told.out and "(baselines alone: " in told.out
    assert (data["running"], data["now"]["left_seconds"], data["now"]["doing"]) == ([4, 5], 90.0, "training 2 SAEs")
    assert data["hypervolume"]["reached"] >= data["hypervolume"]["baselines"] > 0


def test_what_a_process_that_is_gone_has_told_is_not_told_again(going: Path, run: Run) -> None:
    noted(going, lambda status: None)(Status("training 2 SAEs", 4, 6))
    told = run("status", "tiny")
    assert "now: " not in told.out and "not running: resume with" in told.out
    assert json.loads(run("status", "tiny", "--json").out)["now"] is None


def test_looking_waits_for_no_writer_and_holds_none_up(going: Path) -> None:
    writer = sqlite3.connect(going / "study.db", timeout=5, isolation_level=None, check_same_thread=False)
    writer.execute("begin immediate")  # as the study's own ledger does
    writer.execute("update archsearch_studies set seconds = 7")
    begun = time.perf_counter()
    assert read_study(going).seconds != 7  # not committed yet
    assert time.perf_counter() - begun < 3
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            read_study(going)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        writer.execute("commit")
        for count in range(5):
            writer.execute("begin immediate")
            writer.execute("update archsearch_studies set seconds = ?", (count,))
            writer.execute("commit")
    finally:
        done.set()
        for reader in readers:
            reader.join()
        writer.close()
    assert read_study(going).seconds == 4


def test_progress_is_written_now_and_then_and_read_back(tmp_path: Path) -> None:
    now, seen = [100.0], list[Status]()
    tell = noted(tmp_path, seen.append, lambda: now[0])
    tell(Status("a", 1, 9))
    now[0] += SECONDS / 2
    tell(Status("b", 2, 9))
    found = progress_of(tmp_path, lambda: now[0])
    assert found and (found.status.doing, found.age_seconds, found.spent_seconds) == ("a", SECONDS / 2, 0.0)
    now[0] += SECONDS
    tell(Status("c", 3, 9, 0.5, 10.0, None))
    found = progress_of(tmp_path, lambda: now[0] + 5)
    assert found and (found.status, found.age_seconds) == (Status("c", 3, 9, 0.5, 10.0, None), 5)
    assert [status.doing for status in seen] == ["a", "b", "c"]


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    noted(tmp_path / "none", lambda status: None)(Status("a", 0, 1))
    assert progress_of(tmp_path / "none") is None
    (tmp_path / FILE).write_text("{half")
    assert progress_of(tmp_path) is None
