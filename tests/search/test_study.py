"""Studies: what they do, in which order, and that stopping them anywhere loses and changes nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archsearch.errors import Interrupted, InvalidInput, StudyError
from archsearch.search import runner, study
from archsearch.search.ledger import Ledger, database_url, read_study
from archsearch.search.lock import only_one
from archsearch.search.records import Status, StudyRecord, TrialRecord, front
from archsearch.search.sampler import Sampling
from archsearch.search.study import Options, run_study
from archsearch.training.looped import Looped

OPTIONS = Options(precision="float32", device="cpu", asks=2)


def essence(record: StudyRecord) -> list[tuple[Any, ...]]:
    """Returns what must not depend on when a study was stopped."""
    numbers = ("l0", "fvu", "dead_frac", "gamma")
    return [
        (t.number, t.ask, t.level, t.baseline, t.state, t.run, t.params, [t.measurements.get(name) for name in numbers])
        for t in record.trials
    ]


@pytest.fixture
def whole(space: Path, tmp_path: Path) -> StudyRecord:
    return run_study(space, replace(OPTIONS, out=tmp_path / "whole"))


def test_baselines_come_first_then_structures_at_several_levels(whole: StudyRecord) -> None:
    assert [t.baseline for t in whole.trials] == ["topk"] * 3 + [None] * 6
    assert [(t.ask, t.level) for t in whole.trials] == [(ask, level) for ask in range(3) for level in range(3)]
    assert all(t.state == "complete" for t in whole.trials)
    assert whole.stopped
    for ask in (1, 2):
        structures = {tuple((k, v) for k, v in t.params.items() if not k.endswith((".k", ".weight"))) for t in whole.trials if t.ask == ask}
        assert len(structures) == 1


def test_every_trial_has_its_spec_receipt_and_measurements(whole: StudyRecord) -> None:
    for trial in whole.trials:
        assert trial.spec["training"]["tokens"] == 2560
        assert {"l0", "fvu", "dead_frac", "gamma", "parameters", "flops", "seconds"} <= set(trial.measurements)
        assert trial.words and trial.arch and trial.run
        assert trial.history[-1][0] == 40


def test_the_same_command_again_changes_nothing(space: Path, tmp_path: Path, whole: StudyRecord) -> None:
    again = run_study(space, replace(OPTIONS, out=tmp_path / "whole"))
    assert essence(again) == essence(whole)


def test_more_trials_go_on_where_the_study_ended(space: Path, tmp_path: Path, whole: StudyRecord) -> None:
    more = run_study(space, replace(OPTIONS, out=tmp_path / "whole", trials=9))
    assert essence(more)[:9] == essence(whole)
    assert len(more.trials) == 12


def impatient(monkeypatch: pytest.MonkeyPatch, asked: int) -> None:
    """Has the user ask to stop, as the study sees it, once it has looked for that `asked` times; and stay so, as after Ctrl-C."""
    made = runner.Runner.__post_init__

    def wrapped(self: Any) -> None:
        looks = itertools.count()
        self.stop = lambda: next(looks) >= asked
        made(self)

    monkeypatch.setattr(runner.Runner, "__post_init__", wrapped)


@pytest.mark.parametrize("asked", [8, 25, 50])
def test_stopped_and_resumed_is_the_same_study(
    asked: int, space: Path, tmp_path: Path, whole: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, out=tmp_path / "parts")
    with monkeypatch.context() as patch:
        impatient(patch, asked)
        with pytest.raises(Interrupted, match="the same command goes on"):
            run_study(space, options)
    assert list((tmp_path / "parts" / "checkpoints").glob("*.safetensors"))
    resumed = run_study(space, options)
    assert essence(resumed) == essence(whole)
    assert not list((tmp_path / "parts" / "checkpoints").glob("*.safetensors"))


@pytest.mark.parametrize("cores", [1, 3])
def test_the_machine_does_not_decide_what_is_asked(
    cores: int, space: Path, tmp_path: Path, whole: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "Looped", lambda: Looped(cores))
    assert essence(run_study(space, replace(OPTIONS, out=tmp_path / "other"))) == essence(whole)


def test_asks_in_flight_are_fixed_when_a_study_is_begun(space: Path, tmp_path: Path, whole: StudyRecord) -> None:
    again = replace(OPTIONS, out=tmp_path / "whole", asks=5)
    with pytest.raises(StudyError, match="asks: 2 -> 5"):
        run_study(space, again)


def test_an_ask_is_drawn_when_one_of_the_window_has_ended(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, list[int]]] = []
    ask = Sampling.ask

    def noting(self: Sampling, number: int, *args: Any) -> Any:
        drawn.append((number, [t.number for t in self.study.get_trials(deepcopy=False) if not t.state.is_finished()]))
        return ask(self, number, *args)

    monkeypatch.setattr(Sampling, "ask", noting)
    run_study(space, replace(OPTIONS, out=tmp_path / "out", trials=12, asks=3))
    # The baseline is ask 0; of each later one three trials are open while it is in flight.
    assert drawn == [(1, []), (2, [0, 1, 2]), (3, [0, 1, 2, 3, 4, 5]), (4, [3, 4, 5, 6, 7, 8])]


@pytest.mark.parametrize("where", ["finish", "told", "add_trials"])
def test_a_crash_at_any_write_loses_nothing(
    where: str, space: Path, tmp_path: Path, whole: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(Ledger, where)
    calls = 0

    def crashing(self: Ledger, *args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == (2 if where == "add_trials" else 5):
            raise RuntimeError("power cut")
        return original(self, *args, **more)

    options = replace(OPTIONS, out=tmp_path / "parts")
    monkeypatch.setattr(Ledger, where, crashing)
    with pytest.raises(RuntimeError, match="power cut"):
        run_study(space, options)
    monkeypatch.setattr(Ledger, where, original)
    resumed = run_study(space, options)
    assert essence(resumed) == essence(whole)


def test_a_changed_space_is_refused_with_the_difference(space: Path, tmp_path: Path, whole: StudyRecord) -> None:
    space.write_text(space.read_text().replace("width: 48", "width: 64"))
    with pytest.raises(StudyError, match=r"width: 48 -> 64"):
        run_study(space, replace(OPTIONS, out=tmp_path / "whole"))
    assert essence(read_study(tmp_path / "whole")) == essence(whole)


def test_a_second_coordinator_is_refused(space: Path, tmp_path: Path) -> None:
    folder = tmp_path / "busy"
    folder.mkdir()
    with only_one(folder), pytest.raises(StudyError, match="another process"):
        run_study(space, replace(OPTIONS, out=folder))


def test_unknown_options_are_refused_before_anything_is_written(space: Path, tmp_path: Path) -> None:
    for options in (Options(executor="looping"), Options(sampler="tpee"), Options(device="tpu:99")):
        with pytest.raises(InvalidInput):
            run_study(space, replace(options, out=tmp_path / "none"))
    assert not (tmp_path / "none" / "study.db").exists()


def test_both_executors_give_the_same_study(space: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, precision="float64")
    one = run_study(space, replace(options, out=tmp_path / "one", executor="looped", trials=3))
    other = run_study(space, replace(options, out=tmp_path / "other", executor="stacked", trials=3))
    for a, b in zip(one.trials, other.trials, strict=True):
        assert a.run == b.run
        assert a.measurements["fvu"] == pytest.approx(b.measurements["fvu"], rel=1e-9)


def test_observers_are_told_and_the_front_is_undominated(space: Path, tmp_path: Path) -> None:
    told: list[Status] = []
    record = run_study(space, replace(OPTIONS, out=tmp_path / "seen"), told.append)
    assert told[-1].done == told[-1].planned == 9
    kept = front(record.trials, record.band)
    assert tuple(kept) == told[-1].front
    for trial in record.trials:
        inside = record.band[0] <= trial.measurements["l0"] <= record.band[1]
        beaten = any(dominates(other, trial) for other in record.trials if record.band[0] <= other.measurements["l0"] <= record.band[1])
        if inside and not beaten:
            assert any(t.measurements["l0"] == trial.measurements["l0"] for t in kept)
        else:
            assert trial not in kept


def dominates(one: TrialRecord, other: TrialRecord) -> bool:
    a, b = ((t.measurements["l0"], t.measurements["fvu"]) for t in (one, other))
    return a != b and a[0] <= b[0] and a[1] <= b[1]


def test_a_diverging_trial_is_reported_and_the_rest_goes_on(space: Path, tmp_path: Path) -> None:
    space.write_text(space.read_text().replace("{float: [0.001, 0.01], log: true}", "{choice: [0.003, 1.0e+30]}"))
    record = run_study(space, replace(OPTIONS, out=tmp_path / "wild", trials=12, seed=1))
    wild = [t for t in record.trials if t.params.get("training.optimizer.lr") == 1e30]
    tame = [t for t in record.trials if t not in wild]
    assert wild and all(t.state == "failed" and "finite" in t.message for t in wild)
    assert any(t.baseline is None for t in tame) and all(t.state == "complete" for t in tame)


def test_optuna_holds_the_same_trials(space: Path, tmp_path: Path, whole: StudyRecord) -> None:
    import optuna

    for name, trials in (("tiny", whole.trials[3:]), ("tiny (baselines)", whole.trials[:3])):
        there = optuna.load_study(study_name=name, storage=database_url(tmp_path / "whole"))
        assert [t.state.name for t in there.trials] == ["COMPLETE"] * len(trials)
        assert [t.user_attrs["archsearch:run"] for t in there.trials] == [t.run for t in trials]
        assert [t.values[1] for t in there.trials] == [t.measurements["fvu"] for t in trials]
        assert all(bool(t.params) == (name == "tiny") for t in there.trials)
