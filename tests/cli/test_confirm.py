"""`confirm` on a small study that really ran."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from archsearch.search.lock import only_one
from tests.cli.conftest import Run

QUICK = ("--seeds", "2", "--best", "1", "--device", "cpu")


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the working folder of the finished study, entered."""
    shutil.copytree(finished, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def test_it_says_and_writes_what_came_out(copied: Path, run: Run) -> None:
    told = run("confirm", "tiny", *QUICK)
    assert told.code == 0, told.err
    path = copied / "studies" / "tiny" / "confirm" / "confirm.json"
    data = json.loads(path.read_text())
    assert data["format"] == "archsearch-confirm-1" and data["openings"] == 1 and len(data["seeds"]) == 2
    assert "baseline topk (" in told.out and "opened once" in told.out and told.out.rstrip().endswith("studies/tiny/confirm/confirm.json")
    for sentence in data["summary"]:
        assert sentence in told.out
    again = run("confirm", "studies/tiny", *QUICK, "--json")
    assert again.code == 0 and json.loads(again.out) == data | {"command": json.loads(again.out)["command"]}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["tinny"], 2, "no study 'tinny'"),
        (["tiny", "--seeds", "1"], 2, "--seeds must be at least 2"),
        (["tiny", "--seeds", "0"], 2, "must be a whole number above zero"),
        (["tiny", "--width", "1", *QUICK], 2, "there are only 1 latents"),
        (["tiny", "--activations", "none.yaml"], 2, "none.yaml"),
        (["tiny", "--device", "tpu:9"], 2, "device 'tpu:9' cannot be used"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: list[str], code: int, said: str, copied: Path, run: Run) -> None:
    told = run("confirm", *options)
    assert told.code == code and said in told.err and told.out == ""
    assert not (copied / "studies" / "tiny" / "confirm").exists()


def test_a_study_that_is_running_is_left_alone(copied: Path, run: Run) -> None:
    with only_one(copied / "studies" / "tiny"):
        told = run("confirm", "tiny", *QUICK)
    assert told.code == 1 and "another process is running this study" in told.err


def test_other_activations_go_to_a_folder_of_their_name(copied: Path, run: Run) -> None:
    text = "{source: synthetic, features: 40, model: 16, active: 3, rows: 1000, eval_rows: 200, seed: 5}"
    (copied / "other place.yaml").write_text(text)
    told = run("confirm", "tiny", *QUICK, "--activations", "other place.yaml", "--tokens", "640", "--json")
    assert told.code == 0, told.err
    data = json.loads(told.out)
    assert data["tokens"] == 640 and "40" in json.dumps(data["activations"])
    assert (copied / "studies" / "tiny" / "confirm-other_place" / "confirm.json").exists()
