"""`study --warm-start`: from the command line to what the terminal and the dashboard show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from archsearch.cli.dashboard import application, read_only
from tests.cli.conftest import SPACE, Run
from tests.cli.test_dashboard import ask


@pytest.fixture
def after(finished: Path, place: Path) -> Path:
    """A working folder with the small study, finished, and the space of a later one that has room for its own breadth."""
    shutil.copytree(finished / "studies", place / "studies")
    wider = SPACE.replace("name: tiny", "name: later").replace(
        "lr: {float: [0.001, 0.01], log: true}", "lr: {float: [0.0005, 0.02], log: true}"
    )
    (place / "later.yaml").write_text(wider)
    return place


def test_a_study_begins_from_an_earlier_one(after: Path, run: Run) -> None:
    told = run("study", "--space", "later.yaml", "--warm-start", "tiny", "--device", "cpu")
    assert told.code == 0, told.err
    assert "begun from the study tiny\n" in told.out and "asked first, and trained anew: the structure" in told.out
    assert "the sampler is told of 4 trials of it; they are no trials of this study\n" in told.out
    assert len(json.loads(run("results", "later", "--format", "json").out)) == 6  # its own four, and its baseline's two
    pytest.importorskip("optuna_dashboard")
    app = read_only(application(after / "studies/later"))
    summaries = json.loads(ask(app, "GET", "/api/studies")[1])["study_summaries"]
    number = next(one["study_id"] for one in summaries if one["study_name"] == "later")
    status, body = ask(app, "GET", f"/api/studies/{number}")
    marks = [attr["value"] for trial in json.loads(body)["trials"] for attr in trial["user_attrs"] if attr["key"] == "archsearch:from"]
    assert status.startswith("200") and len(marks) == 4
    shutil.rmtree(after / "studies/tiny")
    assert run("study", "--space", "later.yaml", "--warm-start", "tiny", "--device", "cpu").code == 0
    told = run("study", "--space", "later.yaml", "--warm-start", "other", "--device", "cpu")
    assert told.code == 1 and "begun from studies/tiny, and a start cannot be changed; got --warm-start other" in told.err


def test_a_start_that_is_not_there_names_the_nearest(after: Path, run: Run) -> None:
    told = run("study", "--space", "later.yaml", "--warm-start", "tini", "--device", "cpu")
    assert told.code == 2 and "no study 'tini'" in told.err and "did you mean 'tiny'" in told.err
    assert not (after / "studies/later").exists()


def test_help_knows_the_samplers_and_the_start(place: Path, run: Run) -> None:
    told = run("study", "--help")
    assert "gp learns from whole curves" in " ".join(told.out.split()) and "--warm-start STUDY" in told.out
