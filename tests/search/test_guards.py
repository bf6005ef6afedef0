"""What a study refuses to start or to go on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archsearch.activations import open_activations
from archsearch.errors import Interrupted, InvalidInput, StudyError
from archsearch.search import guards, study
from archsearch.search.ledger import read_study
from archsearch.search.study import Options, run_study
from tests.search.stubs import stub_training

OPTIONS = Options(precision="float32", device="cpu")


@pytest.fixture(autouse=True)
def _stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)


def test_changed_activations_are_refused(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(OPTIONS, out=tmp_path / "out")
    run_study(space, options)
    monkeypatch.setattr(study, "open_activations", lambda *a, **k: replace(open_activations(*a, **k), fingerprint="other"))
    with pytest.raises(StudyError, match=r"activations have changed.* -> other"):
        run_study(space, replace(options, trials=9))
    assert len(read_study(tmp_path / "out").trials) == 9


def test_other_numerics_are_refused(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(OPTIONS, out=tmp_path / "out")
    run_study(space, options)
    monkeypatch.setattr(guards, "NUMERICS", guards.NUMERICS + 1)
    with pytest.raises(StudyError, match="numerics"):
        run_study(space, options)


@pytest.mark.parametrize("name, value", [("sampler", "random"), ("precision", "float64"), ("executor", "stacked")])
def test_an_option_that_changes_numbers_is_refused_on_resume(name: str, value: str, space: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, out=tmp_path / "out")
    before = run_study(space, options)
    with pytest.raises(StudyError, match=rf"{name}: \w+ -> {value}"):
        run_study(space, replace(options, **{name: value}))
    assert run_study(space, Options(out=tmp_path / "out", device="cpu")).trials == before.trials


def test_the_stored_sampler_and_executor_go_on(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(OPTIONS, out=tmp_path / "out")
    run_study(space, replace(options, sampler="random", executor="stacked"))
    seen: list[Any] = []
    original = study._walk
    monkeypatch.setattr(study, "_walk", lambda *a: seen.append(original(*a)) or seen[-1])
    run_study(space, replace(options, trials=9))
    assert seen[0].sampling.kind == "random" and type(seen[0].runner.executor).__name__ == "Stacked" and seen[0].runner.window == 4


def test_fewer_trials_than_there_are_is_said_as_it_is(space: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, out=tmp_path / "out")
    run_study(space, options)
    record = run_study(space, replace(options, trials=2))
    assert record.stopped == "all 6 trials done" and record.planned == len(record.trials) == 9


def test_ce_recovered_needs_a_model(space: Path, tmp_path: Path) -> None:
    space.write_text(space.read_text().replace("study: {", "study: {objectives: [l0, ce_recovered], "))
    with pytest.raises(InvalidInput, match="needs a language model"):
        run_study(space, replace(OPTIONS, out=tmp_path / "out"))
    assert not list((tmp_path / "out").glob("saes/*"))


def test_inputs_the_activations_do_not_have_are_refused(space: Path, tmp_path: Path) -> None:
    space.write_text(space.read_text().replace("sae:\n  width: 48\n", "sae:\n  width: 48\n  inputs: [y]\n"))
    with pytest.raises(InvalidInput, match=r"sae.inputs: must name the activations' signals, \['x'\]; got \['y'\]"):
        run_study(space, replace(OPTIONS, out=tmp_path / "out"))


def test_the_space_is_checked_at_the_true_width(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[int] = []
    original = guards.check_space
    monkeypatch.setattr(guards, "check_space", lambda space, model, recipes: widths.append(model) or original(space, model=model))
    run_study(space, replace(OPTIONS, out=tmp_path / "out"))
    assert widths == [16]


def test_a_stop_while_activations_are_prepared_is_heard(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    def slow(spec: Any, device: str, report: Any) -> Any:
        for done in range(3):
            report("harvest activations", done, 3)
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(study, "open_activations", slow)
    with pytest.raises(Interrupted, match="harvest activations, 1 of 3"):
        run_study(space, replace(OPTIONS, out=tmp_path / "out"))


def test_a_new_study_empties_its_folder_of_an_old_one(space: Path, tmp_path: Path) -> None:
    old = [tmp_path / "out" / name for name in ("checkpoints/0.safetensors", "saes/99.safetensors")]
    for path in old:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"old")
    run_study(space, replace(OPTIONS, out=tmp_path / "out"))
    assert not any(path.exists() for path in old)
