"""`compare` on runs of a second: what it writes, goes on with, and refuses."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from archsearch.search import replicates
from archsearch.search.lock import only_one
from tests.cli.conftest import Run

POOR = """
width: 64
graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: 4}, decoder: linear_decoder}
training: {tokens: 1280, batch: 64, optimizer: {kind: adam, lr: 0.0001}}
"""
GOOD = POOR.replace("0.0001", "0.01")
COMMON = ("--l0", "2,4", "--activations", "activations.yaml", "--device", "cpu", "--precision", "float32")


@pytest.fixture
def specs(place: Path) -> Path:
    """A working folder with two SAE specs, one of which hardly learns."""
    (place / "poor.yaml").write_text(POOR)
    (place / "good.yaml").write_text(GOOD)
    return place


def test_a_comparison_says_which_is_better_and_leaves_its_files(specs: Path, run: Run) -> None:
    told = run("compare", "poor.yaml", "good.yaml", *COMMON, "--seeds", "2")
    assert told.code == 0
    assert "good: " in told.out and "lower FVU than poor at L0 2 to 4" in told.out and told.out.splitlines()[0].endswith(": better")
    assert "lr 0.01" in told.out and "\x1b" not in told.out + told.err
    folder = specs / "compare" / "poor-good"
    assert sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != ".lock") == [
        "compare.json", "compare.md", "compare.png", "runs.jsonl",
    ]  # fmt: skip
    found = json.loads((folder / "compare.json").read_text())
    assert (found["pairs"][0]["verdict"], found["tokens"], len(found["entries"][0]["rows"])) == ("better", 1280, 4)
    assert len((folder / "runs.jsonl").read_text().splitlines()) == 8


def test_the_same_command_trains_nothing_again_and_more_seeds_only_those(specs: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(run("compare", "poor.yaml", "good.yaml", *COMMON, "--seeds", "1", "--json").out)
    assert first["pairs"][0]["verdict"] == "not comparable" and "on one seed; no verdict" in first["summary"][0]
    with monkeypatch.context() as patched:
        patched.setattr(replicates, "train", lambda *args, **kwargs: pytest.fail("trained again"))
        again = json.loads(run("compare", "poor.yaml", "good.yaml", *COMMON, "--seeds", "1", "--json").out)
    assert again["entries"] == first["entries"]
    assert run("compare", "poor.yaml", "good.yaml", *COMMON, "--seeds", "2").code == 0
    assert len((specs / "compare" / "poor-good" / "runs.jsonl").read_text().splitlines()) == 8


def test_an_interrupted_comparison_goes_on(specs: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("compare", "poor.yaml", "good.yaml", *COMMON, "--seeds", "2")
    assert run(*arguments, "--out", "straight").code == 0
    trained: list[int] = []

    def cut(members: list[Any], *args: Any, **kwargs: Any) -> None:
        trained.append(len(members))
        if len(trained) == 2:
            signal.raise_signal(signal.SIGINT)
        real(members, *args, **kwargs)

    real = replicates.train
    monkeypatch.setattr(replicates, "train", cut)
    told = run(*arguments, "--out", "cut")
    assert told.code == 130 and "the same command goes on" in told.err and not (specs / "cut" / "compare.json").exists()
    assert run(*arguments, "--out", "cut").code == 0 and trained == [4, 4, 4]

    def measured(folder: str) -> list[Any]:
        found = json.loads((specs / folder / "compare.json").read_text())
        return [(row["run"], row["fvu"]) for entry in found["entries"] for row in entry["rows"]]

    assert measured("cut") == measured("straight")


def test_recipes_and_exports_can_be_compared(there: Path, run: Run, tmp_path: Path) -> None:
    best = tmp_path / "best.json"
    assert run("export", "tiny", "--best", "1", "--out", best).code == 0
    source = tmp_path / "activations.yaml"
    source.write_text("{source: synthetic, features: 64, model: 16, active: 4, rows: 4000, eval_rows: 500}")
    options = ("--width", "64", "--tokens", "3200", "--batch", "32", "--seeds", "1", "--activations", source, "--device", "cpu")
    told = run("compare", "topk", best, "--l0", "2,4", *options, "--out", tmp_path / "out", "--json")
    assert told.code == 0
    entries = json.loads(told.out)["entries"]
    assert [(entry["name"], entry["source"]) for entry in entries] == [("topk", "recipe topk"), ("best", str(best))]
    assert all(entry["spec"]["width"] == 64 and entry["spec"]["training"]["tokens"] == 3200 for entry in entries)


def test_one_folder_holds_one_comparison(specs: Path, run: Run) -> None:
    arguments = ("compare", "poor.yaml", "good.yaml", *COMMON, "--seeds", "1")
    assert run(*arguments).code == 0
    told = run(*arguments, "--tokens", "640")
    assert told.code == 1 and "holds another comparison (poor, good differ)" in told.err and "--out" in told.err
    (specs / "compare" / "poor-good" / "compare.json").write_text("{}")
    assert "cannot be read as a comparison" in run(*arguments).err
    (specs / "compare" / "poor-good" / "compare.json").unlink()
    with only_one(specs / "compare" / "poor-good"):
        told = run(*arguments)
    assert told.code == 1 and "another process is comparing there" in told.err


REFUSED = {
    "one spec": (["poor.yaml"], "needs two or more specs"),
    "one twice": (["poor.yaml", "poor.yaml"], "may be named once"),
    "the same under two names": (["poor.yaml", "copy.yaml"], "poor and copy are the same SAE"),
    "no such recipe": (["poor.yaml", "topkk"], "must be a file or the name of a recipe; got 'topkk'; did you mean 'topk'?"),
    "no such file": (["poor.yaml", "none.yaml"], "none.yaml"),
    "a space": (["poor.yaml", "space.yaml"], "holds a space, not one SAE"),
    "other tokens": (["poor.yaml", "spec.yaml"], "give one number for all with --tokens"),
    "a problem in a file": (["poor.yaml", "wrong.yaml"], "wrong.yaml:3 -> graph.gate"),
    "a problem in a recipe": (["poor.yaml", "topk", "--tokens", "10", "--batch", "64"], "tokens=10 is less than batch=64"),
    "inputs the source lacks": (["poor.yaml", "inputs.yaml"], "`inputs` cannot name"),
    "one l0": (["poor.yaml", "good.yaml", "--l0", "8"], "must be two or more different numbers above zero"),
    "no l0": (["poor.yaml", "good.yaml", "--l0", "8,many"], "must be two or more different numbers above zero"),
    "an l0 above the width": (["poor.yaml", "good.yaml", "--l0", "8,128"], "must be at most the number of latents (64); got 128"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_comparison_is_refused(name: str, specs: Path, run: Run) -> None:
    (specs / "copy.yaml").write_text(POOR)
    (specs / "wrong.yaml").write_text(POOR.replace("topk", "topkk"))
    (specs / "inputs.yaml").write_text(POOR + "inputs: [left, x]\n")
    arguments, message = REFUSED[name]
    told = run("compare", *COMMON, *arguments)
    assert told.code == 2 and message in told.err
    assert not list(specs.glob("compare/*/runs.jsonl"))
