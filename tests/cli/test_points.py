"""Points of a study on the command line: exported, trained again, shown, and refused where they cannot be had."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from archsearch.cli.main import main
from tests.cli.conftest import SPACE, Run

POINTED = SPACE.replace("band: [1, 16]", "band: [1, 16], points: {l0: [3, 1.5]}").replace("name: tiny", "name: pointed")


@pytest.fixture(scope="module")
def pointed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which a study with points has run to its end; tests only read it."""
    folder, before = tmp_path_factory.mktemp("pointed"), Path.cwd()
    (folder / "space.yaml").write_text(POINTED)
    os.chdir(folder)
    try:
        assert main(["study", "--space", "space.yaml", "--device", "cpu"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def there(pointed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(pointed)
    return pointed


def points(folder: Path) -> list[dict[str, Any]]:
    """Returns the members of the front that are points."""
    return [one for one in json.loads((folder / "studies/pointed/front.json").read_text())["front"] if "cut_to" in one]


def test_an_exported_point_trains_to_the_same_numbers(there: Path, tmp_path: Path, run: Run) -> None:
    point = points(there)[0]
    found = run("export", "pointed", "--trial", point["trial"], "--cut", point["cut_to"], "--out", tmp_path / "point.json")
    assert found.code == 0 and f"trial {point['trial']} cut to L0 {point['cut_to']:g}:" in found.out, found.err
    (told,) = json.loads((tmp_path / "point.json").read_text())["specs"]
    assert told["spec"] == point["spec"] and (told["cut_from"], told["cut_to"]) == (point["trial"], point["cut_to"])
    activations = ("--activations", "space.yaml", "--device", "cpu", "--executor", "looped", "--out", tmp_path / "again", "--json")
    again = run("train", "--spec", tmp_path / "point.json", *activations)
    trained = json.loads(again.out)
    assert trained["run"] == point["run"]
    assert all(trained["measurements"][name] == point["measurements"][name] for name in ("l0", "fvu", "dead_frac", "gamma"))


def test_the_table_marks_them(there: Path, run: Run) -> None:
    point = points(there)[0]
    assert f"{point['trial']} cut to L0 {point['cut_to']:g}" in run("status", "pointed").out
    assert f"| {point['trial']} cut to L0 {point['cut_to']:g} |" in (there / "studies/pointed/summary.md").read_text()


def test_results_count_them_apart(there: Path, tmp_path: Path, run: Run) -> None:
    found = run("results", "pointed", "--out", tmp_path / "all.csv")
    rows = (tmp_path / "all.csv").read_text().splitlines()
    assert f"6 trials, {len(rows) - 7} points" in found.out


def test_a_point_that_is_not_there_is_refused(there: Path, tmp_path: Path, run: Run) -> None:
    out = ("--out", tmp_path / "none.json")
    number = points(there)[0]["trial"]
    found = run("export", "pointed", "--trial", number, "--cut", 7, *out)
    assert found.code == 2 and f"--cut must be an L0 that trial {number} was cut to (1.5" in found.err and "got 7" in found.err
    found = run("export", "pointed", "--cut", 3, *out)
    assert found.code == 2 and "name the trial too" in found.err
    assert not (tmp_path / "none.json").exists()


def test_a_point_cannot_be_folded_from_the_weights_before_the_cut(there: Path, tmp_path: Path, run: Run) -> None:
    point = points(there)[0]
    which = ("--trial", point["trial"], "--cut", point["cut_to"])
    found = run("export", "pointed", *which, "--out", tmp_path / "point.json", "--fold", tmp_path / "folded")
    assert found.code == 1 and "weights that are kept are those before the cut" in found.err
    assert not (tmp_path / "point.json").exists()


def test_the_check_names_what_is_wrong(tmp_path: Path, run: Run) -> None:
    (tmp_path / "space.yaml").write_text(POINTED.replace("l0: [3, 1.5]", "l0: [3, 20]"))
    found = run("check", tmp_path / "space.yaml")
    assert found.code == 2 and "study.points.l0.1: must lie in the band, 1 to 16; got 20" in found.err
