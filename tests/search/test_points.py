"""Points: finished SAEs cut to lower L0s, beside the trials, of which they are none."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archsearch.activations import open_activations
from archsearch.assembler.parse import parse
from archsearch.evaluation.metrics import evaluate
from archsearch.search.ledger import DATABASE, Ledger, database_url, read_study
from archsearch.search.measuring import Measuring
from archsearch.search.records import StudyRecord, front, standing, whole_front
from archsearch.search.sampler import Sampling
from archsearch.search.study import run_study
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.search.conftest import SPACE
from tests.search.test_study import OPTIONS, essence

PLAIN = SPACE.replace("weight: {float: [0.5, 5], log: true}", "weight: 1.0").replace("k: {int: [1, 8], log: true}", "k: 4")
PLAIN = PLAIN.replace("{float: [0.001, 0.01], log: true}", "0.003")  # so that there are two structures, and every third is a copy
PLAIN = PLAIN.replace("trials: 6, sweep: 3, band: [1, 8]", "trials: 6, sweep: {l0: [4, 8]}, band: [1, 10]")
POINTED = PLAIN.replace("band: [1, 10]", "band: [1, 10], points: {l0: [3, 1.5]}")


def _spliced(self: Any, sae: Any) -> dict[str, float]:
    """Stands for a language model: the L0 of what was put into it."""
    return {"ce_recovered": evaluate(sae, self.activations.split("validate")).l0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with points that has run to its end; tests only read it."""
    place = tmp_path_factory.mktemp("pointed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHSEARCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr(Measuring, "spliced", _spliced)
        (place / "space.yaml").write_text(POINTED)
        run_study(place / "space.yaml", replace(OPTIONS, out=place / "out", asks=1))
    return place / "out"


@pytest.fixture
def record(folder: Path) -> StudyRecord:
    return read_study(folder)


def test_what_lies_well_above_an_l0_is_cut_to_it_baselines_too(record: StudyRecord) -> None:
    assert {trial.baseline for trial in record.trials} == {"topk", None}
    for trial in record.trials:
        l0 = trial.measurements["l0"]
        assert [point.l0 for point in trial.points] == [level for level in (1.5, 3) if l0 > 1.05 * level]
        for point in trial.points:
            assert point.measurements["l0"] == pytest.approx(point.l0, rel=0.1) and point.measurements["fvu"] > trial.measurements["fvu"]
    assert all(trial.points for trial in record.trials if trial.level == 1)


def test_a_point_is_what_its_spec_trains_to(record: StudyRecord) -> None:
    trial = next(trial for trial in record.trials if trial.baseline is None and len(trial.points) == 2)
    activations = open_activations(Space.read(loads(POINTED)).activations, device="cpu")
    for point in trial.points:
        member = start(parse(point.spec), activations.split("train"), activations.split("calibrate"))
        train([member], Looped())
        found = evaluate(member.sae, activations.split("validate")).as_dict()
        assert {name: point.measurements[name] for name in found} == found


def test_points_are_no_trials(folder: Path, record: StudyRecord, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(PLAIN)
    without = run_study(tmp_path / "space.yaml", replace(OPTIONS, out=tmp_path / "out", asks=1))
    assert essence(record) == essence(without) and record.planned == without.planned == len(record.trials)
    assert not any(trial.points for trial in without.trials)
    told = Sampling(database_url(folder), record.name, "tpe", 0, record.objectives, record.band)
    assert len(told.study.trials) == sum(trial.baseline is None for trial in record.trials)


def test_the_front_says_whose_a_point_is_and_what_it_is_cut_to(record: StudyRecord) -> None:
    all_of_them, members = standing(record.trials), whole_front(record.trials, record.band)
    points = [one for one in all_of_them if one.cut_to is not None]
    assert {one.label for one in points} == {f"{t.number} cut to L0 {p.l0:g}" for t in record.trials for p in t.points}
    assert len(points) == sum(len(trial.points) for trial in record.trials)
    assert any(one.cut_to is not None for one in members)  # lower L0s are reached by cutting alone
    assert [one for one in members if one.cut_to is None] == [one for one in front(record.trials, record.band) if one in members]
    for member in members:
        l0, fvu = member.measurements["l0"], member.measurements["fvu"]
        near = l0 if member.cut_to is None else 1.05 * l0
        assert not any(1 <= one.measurements["l0"] <= near and one.measurements["fvu"] < fvu for one in members)


def test_weights_are_kept_of_trials_a_point_of_which_is_on_the_front(folder: Path, record: StudyRecord) -> None:
    kept = {int(path.stem) for path in (folder / "saes").glob("*.safetensors")}
    baseline = [trial for trial in record.trials if trial.baseline]
    assert {one.number for group in (record.trials, baseline) for one in whole_front(group, record.band)} == kept


def test_points_on_the_front_are_spliced_into_the_model_as_they_are_cut(record: StudyRecord) -> None:
    for member in whole_front(record.trials, record.band):
        assert member.measurements["ce_recovered"] == pytest.approx(member.measurements["l0"])


def test_the_same_run_again_takes_the_points_along(record: StudyRecord) -> None:
    copies = [trial for trial in record.trials if trial.copied_from is not None]
    assert any(trial.points for trial in copies)
    for trial in copies:
        here, there = (
            [(one.l0, one.spec, one.run, one.measurements["fvu"]) for one in points]
            for points in (trial.points, record.trials[trial.copied_from or 0].points)
        )
        assert here == there


def test_a_database_from_before_there_were_points_is_read(folder: Path, record: StudyRecord, tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes((folder / DATABASE).read_bytes())
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("DROP TABLE archsearch_points")
    old = read_study(tmp_path)
    assert old.trials == [replace(trial, points=()) for trial in record.trials]
    with sqlite3.connect(tmp_path / DATABASE) as connection:  # to look is not to change
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'archsearch_points'").fetchall()
    assert Ledger.open(database_url(tmp_path), record.name) is not None  # who goes on with it adds the table
    assert read_study(tmp_path).trials == old.trials


def test_what_is_not_finite_comes_back_as_such(folder: Path, record: StudyRecord, tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes((folder / DATABASE).read_bytes())
    trial = next(trial for trial in record.trials if len(trial.points) == 2)
    ledger = Ledger.open(database_url(tmp_path), record.name)
    assert ledger is not None
    ledger.measure_point(trial.number, trial.points[0].l0, {"ce": float("inf"), "ce_recovered": 0.5})
    found = read_study(tmp_path).trials[trial.number].points
    assert found[0].measurements["ce"] != found[0].measurements["ce"] and found[0].measurements["ce_recovered"] == 0.5
    assert found[1:] == trial.points[1:]
