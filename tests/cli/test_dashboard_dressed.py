"""What the dashboard shows of a study besides what Optuna knows; and that looking holds no writer up."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archsearch.cli.dashboard import application, dressing, read_only
from archsearch.errors import StudyError
from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.ledger import read_study
from archsearch.search.records import StudyRecord, feasible, whole_front
from tests.cli.test_dashboard import ask, copied

pytest.importorskip("optuna_dashboard")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return copied(finished, tmp_path)


@pytest.fixture
def record(folder: Path) -> StudyRecord:
    """The small study, with half of its trials outside the band."""
    with closing(sqlite3.connect(folder / "study.db")) as database:
        (settings,) = database.execute("select settings from archsearch_studies").fetchone()
        levels = sorted(t.measurements["l0"] for t in read_study(folder).trials)
        band = [levels[1], levels[-2]]
        database.execute("update archsearch_studies set settings = ?", (json.dumps({**json.loads(settings), "band": band}),))
        database.commit()
    return read_study(folder)


def shown(folder: Path, name: str, query: str = "") -> dict[str, Any]:
    """Returns a study of Optuna's as the page is told it."""
    app = read_only(dressing(application(folder), folder))
    (found,) = [s["study_id"] for s in json.loads(ask(app, "GET", "/api/studies")[1])["study_summaries"] if s["study_name"] == name]
    told: list[tuple[str, list[tuple[str, str]]]] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/api/studies/{found}", "QUERY_STRING": query}
    environ |= {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8080", "wsgi.url_scheme": "http"}
    body = b"".join(app(environ, lambda status, headers, *rest: told.append((status, headers))))
    assert told[0][0].startswith("200") and ("Content-Length", str(len(body))) in told[0][1]
    return json.loads(body)


def run_of(trial: dict[str, Any]) -> str:
    return {one["key"]: one["value"] for one in trial["user_attrs"]}["archsearch:run"]


@pytest.mark.parametrize("name", ["tiny", "tiny (baselines)"])
def test_trials_are_feasible_and_on_the_front_as_the_study_says(name: str, folder: Path, record: StudyRecord) -> None:
    mine = {t.run: t for t in record.trials if bool(t.baseline) is (name != "tiny")}
    detail = shown(folder, name)
    within = {run_of(t): all(value <= 0 for value in t["constraints"]) for t in detail["trials"]}
    assert within == {run: feasible(t, record.band, record.objectives) for run, t in mine.items()}
    assert len(set(within.values())) == 2 or name != "tiny"
    members = {t.run for t in whole_front(record.trials, record.band, record.objectives)} & set(mine)
    assert {run_of(t) for t in detail["best_trials"]} == members
    noted = {run_of(t): t["note"]["body"] for t in detail["trials"] if t["note"]["body"]}
    assert set(noted) == members
    for run, note in noted.items():
        assert f"trial {mine[run].number}: effective L0 {mine[run].measurements['l0']:.3g}, " in note
        assert mine[run].words.split(",")[0] in note


def test_someone_stands_on_the_front_and_someone_does_not(folder: Path, record: StudyRecord) -> None:
    """Without both of them the test above would say little."""
    members = whole_front(record.trials, record.band, record.objectives)
    assert any(not t.baseline for t in members) and 0 < len(members) < len(record.trials)


def test_the_hypervolume_is_drawn_over_tokens(folder: Path, record: StudyRecord) -> None:
    (plot,) = shown(folder, "tiny")["plotly_graph_objects"]
    study, baselines = json.loads(plot["graph_object"])["data"]
    points = [(t.measurements["l0"], t.measurements["fvu"]) for t in record.trials if feasible(t, record.band)]
    assert study["y"][-1] == pytest.approx(hypervolume(points, record.band))
    assert study["x"][-1] == pytest.approx(len(record.trials) * 3200 / 1e6) and study["y"] == sorted(study["y"])
    assert baselines["name"] == "baselines alone" and not shown(folder, "tiny (baselines)")["plotly_graph_objects"]


def test_a_page_that_asks_for_what_is_new_gets_that_and_the_whole_front(folder: Path, record: StudyRecord) -> None:
    whole, rest = shown(folder, "tiny"), shown(folder, "tiny", "after=3")
    assert rest["trials"] == whole["trials"][3:] != [] and rest["best_trials"] == whole["best_trials"]


def test_another_study_of_the_same_database_is_left_alone(folder: Path, record: StudyRecord) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as database:
        database.execute("update studies set study_name = 'elsewhere' where study_name = 'tiny'")
        database.commit()
    detail = shown(folder, "elsewhere")
    assert not detail["plotly_graph_objects"] and not any(t["note"]["body"] for t in detail["trials"])


def test_looking_waits_for_no_writer_and_holds_none_up(folder: Path) -> None:
    app = read_only(dressing(application(folder), folder))
    before = (folder / "study.db").read_bytes()
    done, answers = threading.Event(), list[str]()

    def look() -> None:
        while not done.is_set():
            answers.append(ask(app, "GET", "/api/studies/1")[0])

    readers = [threading.Thread(target=look) for _ in range(2)]
    with closing(sqlite3.connect(folder / "study.db", timeout=5, isolation_level=None)) as writer:
        writer.execute("begin immediate")  # as the study's own ledger does, while someone looks
        writer.execute("update archsearch_studies set seconds = 7")
        begun = time.perf_counter()
        assert ask(app, "GET", "/api/studies/1")[0].startswith("200") and time.perf_counter() - begun < 3
        assert (folder / "study.db").read_bytes() == before
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
    assert answers and all(status.startswith("200") for status in answers)
    assert read_study(folder).seconds == 4


def test_a_database_that_cannot_be_read_is_a_sentence(folder: Path) -> None:
    (folder / "study.db").write_bytes(b"nothing of the kind" * 999)
    with pytest.raises(StudyError, match=r"study.db: cannot be used as a study's database \(file is not a database\)"):
        application(folder)


def test_measurements_that_are_no_numbers_do_no_harm(folder: Path, record: StudyRecord) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as database:
        database.execute("update archsearch_rungs set measurements = json_set(measurements, '$.l0', null)")
        database.commit()
    detail = shown(folder, "tiny")
    assert all(t["constraints"] == [] for t in detail["trials"]) and detail["best_trials"] == []
    assert not math.isnan(sum(json.loads(detail["plotly_graph_objects"][0]["graph_object"])["data"][0]["y"]))
