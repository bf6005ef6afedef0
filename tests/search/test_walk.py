"""The walk through asks: illegal draws, crashes between Optuna and the ledger, weights kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from archsearch.assembler.sae import SAE
from archsearch.errors import InvalidInput, StudyError
from archsearch.evaluation.metrics import evaluate
from archsearch.search import measuring, runner, walk
from archsearch.search.jobs import Draft
from archsearch.search.ledger import Ledger, database_url
from archsearch.search.proposing import FILLS
from archsearch.search.records import TrialRecord, front
from archsearch.search.sampler import Sampling
from archsearch.search.study import Options, run_study
from archsearch.search.weights import best
from tests.search.stubs import stub_training
from tests.search.test_study import essence

OPTIONS = Options(precision="float32", device="cpu")


def crash(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int, after: bool = False) -> None:
    """Makes the `at`-th call of a method the last thing the process does: before it, or after it."""
    original = getattr(owner, name)
    calls = 0

    def crashing(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at and not after:
            raise RuntimeError("power cut")
        found = original(self, *args, **kwargs)
        if calls == at:
            raise RuntimeError("power cut")
        return found

    monkeypatch.setattr(owner, name, crashing)


def tiny(folder: Path, name: str = "tiny") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=database_url(folder))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("name, after", [("ask", True), ("ask_fixed", True), ("add", True), ("tell", True)])
def test_a_crash_between_optuna_and_the_ledger_changes_nothing(
    name: str, after: bool, sampler: str, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_training(monkeypatch)
    options = replace(OPTIONS, sampler=sampler, trials=15)
    whole = run_study(space, replace(options, out=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        crash(patch, Sampling, name, 2, after)
        with pytest.raises(RuntimeError, match="power cut"):
            run_study(space, replace(options, out=tmp_path / "parts"))
    assert essence(run_study(space, replace(options, out=tmp_path / "parts"))) == essence(whole)
    states = [t.state.name for t in tiny(tmp_path / "parts").trials]
    assert states.count("COMPLETE") == 15 and set(states) <= {"COMPLETE", "FAIL"}
    assert len(tiny(tmp_path / "parts", "tiny (baselines)").trials) == 3


def test_a_waiting_trial_of_an_older_crash_is_forgotten(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    options = replace(OPTIONS, out=tmp_path / "out")
    run_study(space, options)
    tiny(tmp_path / "out").enqueue_trial({"gate": "topk"})
    run_study(space, replace(options, trials=9))
    assert [t.state.name for t in tiny(tmp_path / "out").trials] == ["COMPLETE"] * 6 + ["FAIL"] + ["COMPLETE"] * 3


def test_levels_count_in_the_generations_of_nsga2(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    run_study(space, replace(OPTIONS, out=tmp_path / "out", sampler="nsga2", trials=60))
    generations = [t.system_attrs["NSGAIISampler:generation"] for t in tiny(tmp_path / "out").trials]
    assert len(generations) == 60 and generations == sorted(generations) and generations[-1] == 1
    assert 50 <= generations.count(0) < 50 + 2 * 3  # what is in flight when the generation is full belongs to it


def refusing(monkeypatch: pytest.MonkeyPatch, refuse: Any) -> None:
    original = Draft.row

    def row(self: Draft, number: int, setting: Any) -> Any:
        if refuse(self):
            raise InvalidInput(["a test of no meaning"])
        return original(self, number, setting)

    monkeypatch.setattr(Draft, "row", row)


def dense(draft: Draft) -> bool:
    return draft.baseline is None and draft.params["training.optimizer.lr"] > 0.003


@pytest.mark.parametrize("name, at, after", [("add_trials", 2, False), ("add_trials", 2, True), ("add_trials", 4, True), ("told", 5, True)])
def test_an_illegal_draw_is_drawn_again_the_same_way_after_a_crash(
    name: str, at: int, after: bool, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_training(monkeypatch)
    refusing(monkeypatch, dense)
    options = replace(OPTIONS, trials=24)
    whole = run_study(space, replace(options, out=tmp_path / "whole"))
    assert len(whole.trials) == 27 and not any(t.params.get("training.optimizer.lr", 0) > 0.003 for t in whole.trials)
    with monkeypatch.context() as patch:
        crash(patch, Ledger, name, at, after)
        with pytest.raises(RuntimeError, match="power cut"):
            run_study(space, replace(options, out=tmp_path / "parts"))
    assert essence(run_study(space, replace(options, out=tmp_path / "parts"))) == essence(whole)
    ledger = Ledger.open(database_url(tmp_path / "parts"), "tiny")
    assert ledger is not None
    events = ledger.events(walk.ILLEGAL)
    trials = tiny(tmp_path / "parts").trials
    pruned = [t for t in trials if t.state.name == "PRUNED"]
    assert events and [t.number for t in pruned] == [number for event in events for number in event["illegal"]]
    assert all(t.user_attrs["archsearch:illegal"] == "a test of no meaning" for t in pruned)


def test_an_illegal_level_takes_its_ask_with_it(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    refusing(monkeypatch, lambda draft: draft.ask == 1 and draft.level == 2 and draft.optuna_number == 2)
    record = run_study(space, replace(OPTIONS, out=tmp_path / "out"))
    assert [(t.ask, t.level) for t in record.trials if t.baseline is None] == [(ask, level) for ask in (1, 2) for level in range(3)]
    assert [t.state.name for t in tiny(tmp_path / "out").trials] == ["FAIL", "FAIL", "PRUNED", *["COMPLETE"] * 6]


def test_a_space_of_illegal_draws_ends_with_the_last_problem(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    refusing(monkeypatch, lambda draft: draft.baseline is None)
    for _ in range(2):
        with pytest.raises(StudyError, match=r"ask 1: 20 draws in a row.*\n  a test of no meaning"):
            run_study(space, replace(OPTIONS, out=tmp_path / "out"))


def test_an_objective_that_is_not_a_number_fails_the_trial(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unmeasured:
        def __init__(self, found: dict[str, float]):
            self.found = found

        def as_dict(self) -> dict[str, float]:
            return self.found

    def unmeasured(saes: Sequence[SAE], rows: dict[str, torch.Tensor]) -> list[Unmeasured]:
        return [Unmeasured({**evaluate(sae, rows).as_dict(), "dead_frac": math.nan}) for sae in saes]

    monkeypatch.setattr(measuring, "evaluate_cuts", unmeasured)
    space.write_text(space.read_text().replace("study: {", "study: {objectives: [l0, fvu, dead_frac], "))
    record = run_study(space, replace(OPTIONS, out=tmp_path / "out", trials=3))
    assert all(t.state == "failed" and t.message == "objectives could not be measured: dead_frac" for t in record.trials)
    assert [t.state.name for t in tiny(tmp_path / "out").trials] == ["PRUNED"] * 3


def test_weights_are_kept_of_both_fronts() -> None:
    def trial(number: int, l0: float, fvu: float, dead: float) -> TrialRecord:
        found = {"l0": l0, "fvu": fvu, "dead_frac": dead}
        return TrialRecord(number, 0, 0, "complete", {}, {}, "", "", "", measurements=found)

    trials = [trial(0, 2.0, 0.5, 0.9), trial(1, 3.0, 0.6, 0.1), trial(2, 4.0, 0.7, 0.5)]
    assert [t.number for t in front(trials, (1, 8))] == [0]
    assert {t.number for t in best(trials, (1, 8), ("l0", "dead_frac"))} == {0, 1}
    trials[1].measurements["dead_frac"] = math.nan
    assert {t.number for t in best(trials, (1, 8), ("l0", "dead_frac"))} == {0, 2}


def test_a_choice_of_numbers_is_swept_like_a_range(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    space.write_text(space.read_text().replace("k: {int: [1, 8], log: true}", "k: {choice: [8, 1, 2, 4]}"))
    record = run_study(space, replace(OPTIONS, out=tmp_path / "out", trials=12))
    counts = {}
    for t in record.trials:
        if t.spec["graph"]["gate"]["kind"] == "topk":
            counts.setdefault(t.ask, []).append(t.spec["graph"]["gate"]["k"])
    assert counts.pop(0) == [1, 2, 4] and counts
    whole = [found for ask, found in counts.items() if ask % FILLS != FILLS - 1][:-1]  # asks that fill octaves have fewer, the last too
    assert len(whole) > 1 and all(len(set(found)) == 3 for found in whole)


def test_a_checkpoint_of_another_run_is_deleted_and_training_starts_afresh(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, trials=1)
    whole = run_study(space, replace(options, out=tmp_path / "whole"))
    other = tmp_path / "parts" / "checkpoints" / "0.safetensors"
    original = runner.Runner._start

    def planting(self: Any, row: Any, members: dict[int, Any]) -> None:
        original(self, row, members)
        if row.number == 0 and not other.exists():
            members[0].step = 1
            runner.save_member(members[0], other, "another run")
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(runner.Runner, "_start", planting)
        with pytest.raises(RuntimeError, match="power cut"):
            run_study(space, replace(options, out=tmp_path / "parts"))
    assert essence(run_study(space, replace(options, out=tmp_path / "parts"))) == essence(whole)
    assert not other.exists()
