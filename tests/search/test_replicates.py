"""Given specs, trained and measured once each, resumed and stopped."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from archsearch.activations import open_activations
from archsearch.assembler.parse import parse
from archsearch.errors import Interrupted, InvalidInput
from archsearch.evaluation.metrics import evaluate
from archsearch.search import replicates
from archsearch.search.records import Status
from archsearch.search.replicates import Replicates
from archsearch.spec.activations import SyntheticSource
from archsearch.training.loop import Executor, train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from archsearch.training.stacked import Stacked

SOURCE = SyntheticSource.model_validate({"source": "synthetic", "features": 48, "model": 16, "active": 3, "rows": 2048, "eval_rows": 256})


def spec(k: int = 3, seed: int = 0, lr: float = 0.003) -> dict[str, Any]:
    graph = {"center": "pre_bias", "encoder": "linear_encoder", "gate": {"kind": "topk", "k": k}, "decoder": "linear_decoder"}
    training = {"tokens": 640, "batch": 32, "seed": seed, "data_seed": seed, "optimizer": {"kind": "adam", "lr": lr}}
    return {"width": 48, "graph": graph, "training": training}


DOCUMENTS = {f"k {k}, seed {seed}": spec(k, seed) for seed in (0, 1) for k in (2, 5)}


@pytest.fixture(scope="module")
def activations() -> Any:
    return open_activations(SOURCE, device="cpu")


def make(path: Path, activations: Any, executor: Executor | None = None, **changes: Any) -> Replicates:
    return Replicates(path / "runs.jsonl", activations, "cpu", executor or Looped(), "float32", **changes)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "runs.jsonl").read_text().splitlines()]


def test_rows_say_what_training_alone_says(tmp_path: Path, activations: Any) -> None:
    rows = make(tmp_path, activations).run(DOCUMENTS)
    assert list(rows) == list(DOCUMENTS)
    member = start(parse(DOCUMENTS["k 5, seed 1"]), activations.split("train"), activations.split("calibrate"))
    train([member], Looped())
    alone, row = evaluate(member.sae, activations.split("validate")), rows["k 5, seed 1"]
    assert (row["l0"], row["fvu"], row["dead_frac"], row["gamma"]) == (alone.l0, alone.fvu, alone.dead_frac, alone.gamma)
    assert set(row) == {
        "name", "run", "split", "l0", "fvu", "ce_recovered", "dead_frac", "gamma", "parameters", "flops", "seconds", "steps", "remark",
    }  # fmt: skip
    assert (row["steps"], row["split"], row["ce_recovered"], row["parameters"]) == (20, "validate", None, 16 + 48 * 17 + 48 * 16)


def test_stacked_cohorts_give_the_same_rows(tmp_path: Path, activations: Any) -> None:
    looped = make(tmp_path / "a", activations).run(DOCUMENTS)
    stacked = make(tmp_path / "b", activations, Stacked()).run({**DOCUMENTS, "other": spec(3, 0, 0.001)})
    for name, row in looped.items():
        assert stacked[name]["run"] == row["run"]
        assert (stacked[name]["l0"], stacked[name]["fvu"]) == pytest.approx((row["l0"], row["fvu"]), rel=1e-4)


def test_nothing_is_trained_twice(tmp_path: Path, activations: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(tmp_path, activations).run({"a": spec(3), "b": spec(3)})  # one run under two names
    assert len(lines(tmp_path)) == 1 and first["a"] == {**first["b"], "name": "a"}
    monkeypatch.setattr(replicates, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    assert make(tmp_path, activations).run({"c": spec(3)})["c"]["fvu"] == first["a"]["fvu"]


def test_another_split_is_measured_anew(tmp_path: Path, activations: Any) -> None:
    validate = make(tmp_path, activations).run({"a": spec()})
    test = make(tmp_path, activations, split="test").run({"a": spec()})
    assert [row["split"] for row in lines(tmp_path)] == ["validate", "test"]
    assert validate["a"]["run"] == test["a"]["run"] and validate["a"]["fvu"] != test["a"]["fvu"]


def test_a_line_cut_short_is_trained_again(tmp_path: Path, activations: Any) -> None:
    whole = make(tmp_path, activations).run({"a": spec(2), "b": spec(3)})
    path = tmp_path / "runs.jsonl"
    path.write_text(path.read_text()[:-40])
    again = make(tmp_path, activations).run({"a": spec(2), "b": spec(3)})
    assert {name: row["fvu"] for name, row in again.items()} == {name: row["fvu"] for name, row in whole.items()}
    assert len(path.read_text().splitlines()) == 3 and make(tmp_path, activations).finished().keys() == {r["run"] for r in whole.values()}


@pytest.mark.parametrize("executor", [Looped(), Stacked()], ids=["looped", "stacked"])
def test_stopped_midway_it_goes_on_to_the_same_numbers(tmp_path: Path, activations: Any, executor: Executor) -> None:
    straight = make(tmp_path / "straight", activations, executor).run(DOCUMENTS)
    told: list[Status] = []

    def observe(status: Status) -> None:
        told.append(status)
        if status.step_frac > 0.3 and len(told) < 1000:
            told.extend([status] * 1000)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="the same command goes on"):
        make(tmp_path / "cut", activations, executor, observe=observe).run(DOCUMENTS)
    assert list((tmp_path / "cut" / "checkpoints").iterdir())
    again = make(tmp_path / "cut", activations, executor).run(DOCUMENTS)
    assert {name: row["fvu"] for name, row in again.items()} == {name: row["fvu"] for name, row in straight.items()}
    assert not list((tmp_path / "cut" / "checkpoints").iterdir())


def test_a_run_that_fails_is_kept_with_its_reason(tmp_path: Path, activations: Any) -> None:
    rows = make(tmp_path, activations).run({"wild": spec(lr=1e30), "tame": spec()})
    assert "stopped being finite" in rows["wild"]["failure"] and "fvu" not in rows["wild"]
    assert "failure" not in rows["tame"]
    assert [row["name"] for row in lines(tmp_path)] == ["wild", "tame"]


def test_what_is_not_finite_is_a_failure_not_a_number(tmp_path: Path, activations: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = evaluate

    def broken(*args: Any) -> Any:
        found = real(*args)
        return type(found)(**{**found.as_dict(), "fvu": math.nan})

    monkeypatch.setattr(replicates, "evaluate", broken)
    assert "could not be measured" in make(tmp_path, activations).run({"a": spec()})["a"]["failure"]


def test_an_illegal_spec_is_refused_before_any_is_trained(tmp_path: Path, activations: Any) -> None:
    with pytest.raises(InvalidInput, match="widht"):
        make(tmp_path, activations).run({"a": spec(), "b": {**spec(), "widht": 3}})
    assert not (tmp_path / "runs.jsonl").exists()


def test_a_cohort_too_big_for_the_device_is_halved(tmp_path: Path, activations: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = make(tmp_path / "a", activations, Stacked()).run(DOCUMENTS)
    sizes: list[int] = []

    def tight(members: list[Any], *args: Any, **kwargs: Any) -> None:
        sizes.append(len(members))
        if len(members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        train(members, *args, **kwargs)

    monkeypatch.setattr(replicates, "train", tight)
    halved = make(tmp_path / "b", activations, Stacked()).run(DOCUMENTS)
    assert sizes == [4, 2, 2]
    assert {n: r["fvu"] for n, r in halved.items()} == pytest.approx({n: r["fvu"] for n, r in straight.items()}, rel=1e-4)


def test_no_documents_are_no_rows(tmp_path: Path, activations: Any) -> None:
    assert make(tmp_path, activations).run({}) == {}
