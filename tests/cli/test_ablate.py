"""`ablate` and `importance` on a small study that really ran."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archsearch.cli.main import main
from archsearch.search import replicates
from archsearch.search.ledger import read_study
from archsearch.search.lock import only_one
from tests.cli.conftest import Run

SPACE = """
name: small
activations: {source: synthetic, features: 64, model: 16, active: 4, rows: 4000, eval_rows: 500}
sae:
  width: 64
  graph:
    center: pre_bias
    encoder: linear_encoder
    gate: {kind: topk, k: 4}
    decoder: {kind: linear_decoder, norm: {choice: [unit, free]}}
  training: {tokens: 1280, batch: 64, optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}}}
variants:
  gate:
    oneof:
      batch_topk: {graph.gate: batch_topk}
      topk: {}
baselines:
  topk:
    width: 64
    graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: 4}, decoder: linear_decoder}
    training: {tokens: 1280, batch: 64, optimizer: {kind: adam, lr: 0.02}}
study: {trials: 8, sweep: {l0: [3, 6]}, band: [1, 16]}
"""
QUICK = ("--seeds", "2", "--l0", "3,6", "--device", "cpu")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which that study has run; tests only copy it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SPACE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["study", "--space", "small.yaml", "--device", "cpu", "--sampler", "random"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def small(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that folder, entered."""
    shutil.copytree(ran, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    yield tmp_path / "place" / "studies" / "small"


def of_gate(folder: Path, gate: str) -> int:
    """Returns the first trial of the search with this gate."""
    trials = read_study(folder).trials
    return next(trial.number for trial in trials if not trial.baseline and trial.params["gate"] == gate)


def test_every_choice_is_put_back_and_judged(small: Path, run: Run) -> None:
    number = of_gate(small, "batch_topk")
    told = run("ablate", "small", "--trial", str(number), *QUICK)
    assert told.code == 0, told.err
    found = json.loads((small / f"ablate-{number}" / "ablation.json").read_text())
    choices = {choice["choice"]: choice for choice in found["choices"]}
    assert (choices["gate"]["own"], choices["gate"]["back"]) == ("batch_topk", "topk")
    assert found["reference"].startswith("baseline topk (trial ") and choices["gate"]["seeds"] == 2
    assert choices["gate"]["costs"]["parameters"] == found["costs"]["parameters"]
    assert "gate batch_topk -> topk" in told.out and "FVU above zero: the choice helps" in told.out
    seeds = {row["seed"] for entry in found["comparison"]["entries"] for row in entry["rows"]}
    assert len(seeds) == 2 and 0 not in seeds  # the study chose the trial by seed 0
    assert (small / f"ablate-{number}" / "ablation.md").read_text().startswith("# small: what the choices of trial")
    lines = (small / f"ablate-{number}" / "runs.jsonl").read_text().splitlines()
    assert len(lines) == 4 * (1 + len(choices)) and all(json.loads(line)["split"] == "validate" for line in lines)


def test_it_goes_on_where_it_was_stopped(small: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    number, real, calls = of_gate(small, "batch_topk"), replicates.train, list[int]()

    def cut(members: list[Any], *args: Any, **kwargs: Any) -> None:
        calls.append(len(members))
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        real(members, *args, **kwargs)

    monkeypatch.setattr(replicates, "train", cut)
    told = run("ablate", "small", "--trial", str(number), *QUICK)
    assert told.code == 130 and "the same command goes on" in told.err
    done = len((small / f"ablate-{number}" / "runs.jsonl").read_text().splitlines())
    assert done >= 4 and not (small / f"ablate-{number}" / "ablation.json").exists()
    told = run("ablate", "small", "--trial", str(number), *QUICK, "--json")
    assert told.code == 0 and len(json.loads(told.out)["choices"]) >= 1


def test_it_leaves_a_running_study_alone_and_refuses_a_second_of_itself(small: Path, run: Run) -> None:
    number = of_gate(small, "batch_topk")
    folder = small / f"ablate-{number}"
    folder.mkdir()
    with only_one(folder):
        told = run("ablate", "small", "--trial", str(number), *QUICK)
    assert told.code == 1 and "another process is at this ablation" in told.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["small", "--trial", "99"], 2, "which is not there"),
        (["small", "--trial", "0"], 2, "0 is the baseline topk, which made no choice"),
        (["smal", "--trial", "3"], 2, "no study 'smal'"),
        (["small"], 2, "required: --trial"),
        (["small", "--trial", "3", "--l0", "100,200"], 2, "must be at most the number of latents"),
    ],
)
def test_what_cannot_be_ablated_is_refused(options: list[str], code: int, said: str, small: Path, run: Run) -> None:
    told = run("ablate", *options, "--device", "cpu")
    assert (told.code, told.out) == (code, "") and said in told.err
    assert not list(small.glob("ablate-*"))


def test_importance_says_when_there_is_too_little(small: Path, run: Run) -> None:
    told = run("importance", "small")
    assert told.code == 0 and "not enough trials: 8 of 4 asks, and it takes 8 asks" in told.out
    data = json.loads(run("importance", "small", "--settings", "--json").out)
    assert (data["by"], data["whole"]["asks"], data["whole"]["choices"]) == ("settings", 4, [])
    assert run("importance", "smal").code == 2
