"""`report`: a page, or Markdown, of a finished study, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_a_page_goes_to_the_study_unless_told_otherwise(finished: Path, run: Run, tmp_path: Path) -> None:
    study = finished / "studies" / "tiny"
    told = run("report", study, "--out", tmp_path / "page.html")
    assert (told.code, told.err) == (0, "")
    assert "6 trials" in told.out and "opens without a network" in told.out
    text = (tmp_path / "page.html").read_text()
    assert "Does [it] run?" in text and "tree-structured Parzen estimator" in text
    assert not (study / "report.html").exists()
    assert run("report", study).code == 0
    assert (study / "report.html").is_file()
    (study / "report.html").unlink()


def test_markdown_goes_to_a_folder_of_its_own(there: Path, run: Run, tmp_path: Path) -> None:
    told = run("report", "tiny", "--format", "markdown", "--out", tmp_path / "new" / "words")
    assert (told.code, told.err) == (0, "")
    text = (tmp_path / "new" / "words" / "report.md").read_text()
    assert text.startswith("# tiny\n")
    assert "archsearch report tiny" in text
    assert (tmp_path / "new" / "words" / "front.svg").is_file()


def test_a_report_leaves_the_study_as_it_was(there: Path, run: Run, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (there / "studies" / "tiny").rglob("*")}
    assert run("report", "tiny", "--out", tmp_path / "page.html").code == 0
    assert {path: path.stat().st_mtime_ns for path in (there / "studies" / "tiny").rglob("*")} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "."], "--out must be a file for --format html"),
        (["--out", "nowhere/page.html"], "--out must be a file in a folder that exists"),
        (["--format", "markdown", "--out", "space.yaml"], "--out must be a folder"),
        (["--format", "pdf"], "invalid choice"),
    ],
)
def test_a_place_that_cannot_be_is_refused(options: list[str], said: str, there: Path, run: Run) -> None:
    told = run("report", "tiny", *options)
    assert told.code == 2
    assert said in told.err


def test_a_folder_without_a_study_has_no_report(place: Path, run: Run) -> None:
    told = run("report", place)
    assert told.code == 1 and "holds no study" in told.err
    assert run("report", "nothing").code == 2


def test_a_damaged_confirmation_is_told_and_writes_nothing(finished: Path, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    (copy / "confirm").mkdir(parents=True)
    shutil.copy(finished / "studies" / "tiny" / "study.db", copy)
    (copy / "confirm" / "confirm.json").write_text(json.dumps({"format": "other"}))
    told = run("report", copy)
    assert told.code == 1 and "confirm.json: must be of format" in told.err
    assert not (copy / "report.html").exists()
