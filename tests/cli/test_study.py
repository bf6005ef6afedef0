"""`study`, `status` and `export` on a small study that really ran."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from archsearch.cli import study as command
from archsearch.cli.results import chosen_trials, held
from archsearch.errors import Interrupted, InvalidInput, StudyError
from archsearch.search.ledger import read_study
from archsearch.search.lock import only_one
from archsearch.search.records import StudyRecord
from tests.cli.conftest import Run
from tests.reporting.conftest import study, trial


def test_a_study_leaves_its_results(finished: Path) -> None:
    names = {path.name for path in (finished / "studies" / "tiny").iterdir()}
    assert {"front.json", "front.png", "front.html", "summary.md", "study.db"} <= names
    told = json.loads((finished / "studies" / "tiny" / "front.json").read_text())
    assert told["trials"]["complete"] == told["planned"] == 6
    assert told["front"] and told["baselines"]["topk"]


def test_the_same_command_again_does_nothing_new(there: Path, run: Run) -> None:
    before = json.loads((there / "studies/tiny/front.json").read_text())
    told = run("study", "--space", "space.yaml", "--device", "cpu")
    assert told.code == 0
    after = json.loads((there / "studies/tiny/front.json").read_text())
    assert after["front"] == before["front"]
    assert "\x1b" not in told.out
    assert "tiny: the front at L0 1 to 16" in told.out and "6 complete" in told.out


def test_a_name_and_a_folder_are_the_same_study(there: Path, run: Run) -> None:
    by_name, by_folder = run("status", "tiny"), run("status", "studies/tiny")
    assert by_name == by_folder
    assert by_name.code == 0
    assert "tiny: Does [it] run?" in by_name.out and "6/6 trials (6 complete" in by_name.out


def test_status_for_a_program(there: Path, run: Run) -> None:
    told = run("status", "tiny", "--json")
    data = json.loads(told.out)
    assert (told.code, data["study"], data["failed"]) == (0, "tiny", {})


def test_an_unknown_study_is_wrong_input(there: Path, run: Run) -> None:
    told = run("status", "tinny")
    assert told.code == 2
    assert "no study 'tinny'" in told.err and "did you mean 'tiny'?" in told.err


def test_a_folder_without_a_study_is_told(place: Path, run: Run) -> None:
    (place / "empty").mkdir()
    told = run("status", "empty")
    assert told.code == 1 and "holds no study" in told.err


def test_an_export_can_be_trained_and_checked(there: Path, run: Run, tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    told = run("export", "tiny", "--best", "1", "--out", best)
    assert told.code == 0 and f"{best}: 1 spec" in told.out
    data = json.loads(best.read_text())
    assert data["study"] == "tiny" and data["specs"][0]["run"]
    assert run("check", best).code == 0
    again = run("train", "--spec", best, "--activations", "space.yaml", "--out", tmp_path / "out", "--device", "cpu", "--json")
    assert again.code == 0
    trained = json.loads(again.out)
    assert trained["run"] == data["specs"][0]["run"]  # the same run hash, and so the same SAE:
    assert trained["measurements"]["fvu"] == pytest.approx(data["specs"][0]["measurements"]["fvu"], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--trial", "99"], 2, "--trial must name a finished trial (the last is 5); got 99, which is not there"),
        (["--band", "100", "200"], 1, "no front member has an effective L0 from 100 to 200"),
        (["--band", "9", "3"], 2, "--band must be LO HI with 0 < LO <= HI"),
    ],
)
def test_an_export_of_nothing_is_refused(options: list[str], code: int, message: str, there: Path, run: Run, tmp_path: Path) -> None:
    told = run("export", "tiny", *options, "--out", tmp_path / "best.json")
    assert told.code == code and message in told.err
    assert not (tmp_path / "best.json").exists()


def three() -> StudyRecord:
    return study(
        [trial(0, 4, 0.4, baseline="a"), trial(1, 64, 0.1, baseline="a"), trial(2, 8, 0.2), trial(3, 16, 0.19), trial(4, 30, 0.11)]
    )


def test_the_best_are_furthest_below_the_baseline() -> None:
    assert [one.number for one in chosen_trials(three(), best=2)] == [2, 4]  # the baseline there: 0.283, 0.2, 0.146; so -29%, -5%, -25%


def test_a_band_gives_the_front_inside_it() -> None:
    assert [one.number for one in chosen_trials(three(), band=[5.0, 20.0])] == [2, 3]


def test_a_failed_trial_cannot_be_exported() -> None:
    record = study([trial(0, 8, 0.1, state="failed", measurements={})])
    with pytest.raises(InvalidInput, match="which is failed"):
        chosen_trials(record, trial=0)
    with pytest.raises(StudyError, match="the front is empty"):
        chosen_trials(record)


def test_a_stopped_study_says_how_to_go_on(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise Interrupted("stopped; the same command goes on from here")

    monkeypatch.setattr(command, "run_study", stopped)
    told = run("study", "--space", "space.yaml")
    assert (told.code, told.err) == (130, "stopped; the same command goes on from here\n")


def test_a_study_in_which_nothing_finished_has_failed(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    record = study([trial(n, 8, 0.1, state="failed", measurements={}, message="it diverged") for n in range(3)])
    monkeypatch.setattr(command, "run_study", lambda *_: record)
    told = run("study", "--space", "space.yaml", "--out", "out")
    assert told.code == 1
    assert told.err == "no trial could be finished:\n  it diverged\n"
    assert (place / "out" / "summary.md").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--storage", "foo://x/y"], "--storage must be a URL sqlite:///PATH; got 'foo://x/y'; 'foo' is not supported"),
        (["--storage", "nonsense"], "--storage must be a URL sqlite:///PATH; got 'nonsense'"),
        (["--out", "spec.yaml"], "--out must be a folder; got 'spec.yaml', and 'spec.yaml' is a file"),
    ],
)
def test_a_study_refuses_where_it_cannot_be_kept(options: list[str], said: str, place: Path, run: Run) -> None:
    told = run("study", "--space", "space.yaml", *options)
    assert told.code == 2 and said in told.err


@pytest.mark.parametrize(("out", "said"), [("none/best.json", "there is no folder 'none'"), (".", "'.' is a folder")])
def test_an_export_goes_to_a_file_that_can_be(out: str, said: str, there: Path, run: Run) -> None:
    told = run("export", "tiny", "--out", out)
    assert told.code == 2 and told.err.startswith("--out must be a file") and said in told.err


def test_a_lock_tells_whether_a_study_is_running(tmp_path: Path) -> None:
    assert not held(tmp_path)
    with only_one(tmp_path):
        assert held(tmp_path)
    assert not held(tmp_path)


def test_trials_left_running_by_a_process_that_is_gone_are_told(there: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    record = read_study(there / "studies/tiny")
    left = replace(record, stopped="", trials=[replace(record.trials[0], state="running"), *record.trials[1:]])
    monkeypatch.setattr("archsearch.cli.results.read_study", lambda folder: left)
    assert "not running: resume with: archsearch" in run("status", "tiny").out
    with only_one(there / "studies/tiny"):
        assert "not running" not in run("status", "tiny").out


def test_a_damaged_study_says_what_to_do(there: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database" * 500)
    told = run("status", tmp_path)
    assert told.code == 1 and "restore that file from a copy, or delete it" in told.err and "sqlite:" not in told.err
