"""Replayed studies: what SAEs come to is what was measured, and costs are counted as told."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.records import Climbed, TrialRecord
from benchmarks import replay, replay_saes, search_space

BRANCHES = ("relu", "gated", "jumprelu", "topk", "batch_topk", "matryoshka")


@pytest.fixture(scope="module")
def saes() -> list[dict[str, Any]]:
    return json.loads(replay_saes.FILE.read_text())["saes"]


@pytest.mark.parametrize("branch", BRANCHES)
def test_ranges_are_those_of_the_space(branch: str) -> None:
    spec = search_space.middle(search_space.space_of(search_space.documents(0)), branch)
    assert replay_saes.branch(spec) == branch
    assert replay_saes.places(spec) == pytest.approx([0.5] * (3 if branch == "jumprelu" else 2), abs=0.02)  # counts are whole


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_model_comes_close_to_what_was_measured(branch: str, saes: list[dict[str, Any]]) -> None:
    own = [sae for sae in saes if sae["branch"] == branch]
    assert len(own) >= 40
    off, cuts = list[float](), list[float]()
    for sae in own:
        l0, fvu = replay.model().at(branch, sae["places"], 1.0)
        off.append(abs(math.log(fvu / sae["at"]["1.0"][1])))
        for level, cut in sae["points"][-1:]:
            told = replay.model().cut(branch, sae["places"], (sae["at"]["1.0"][0], sae["at"]["1.0"][1]), level)
            assert told is not None
            cuts.append(abs(math.log(told / cut)))
        assert l0 > 0
    assert sorted(off)[len(off) // 2] < 0.03 and sorted(cuts)[len(cuts) // 2] < 0.03


def test_no_front_is_better_than_what_was_measured_by_more_than_noise(saes: list[dict[str, Any]]) -> None:
    points = [tuple(point) for sae in saes for point in (sae["at"]["1.0"], *sae["points"])]
    made = [
        replay.model().at(branch, [x / 10, y / 10, 0.5][: 3 if branch == "jumprelu" else 2], 1.0) for branch in BRANCHES for x, y in GRID
    ]
    band = search_space.BAND
    assert hypervolume(made, band) < hypervolume(points, band) * 1.02


GRID = [(x, y) for x in range(11) for y in range(11)]


def test_costs_are_counted_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "COSTS", (1, 2))
    done: dict[str, Any] = {"measurements": {"l0": 8.0, "fvu": 0.5}}
    first = TrialRecord(0, 0, 0, "complete", {}, {}, "", "", "", **done)
    stopped = TrialRecord(1, 0, 1, "stopped", {}, {}, "", "", "")
    last = TrialRecord(2, 0, 2, "complete", {}, {}, "", "", "", measurements={"l0": 4.0, "fvu": 0.6})
    rungs = {0: {0.25: {}, 0.5: {}}, 1: {0.25: {}}, 2: {0.25: {}, 0.5: {}}}
    record: Any = SimpleNamespace(trials=[last, stopped, first], climbed=Climbed(rungs))
    assert replay.curve(record) == [0.0, hypervolume([(8.0, 0.5)], search_space.BAND)]  # after 1.29, 1.57 and 2.86 runs


@pytest.mark.slow
@pytest.mark.parametrize("sampler", replay.SAMPLERS)
def test_a_study_is_replayed(sampler: str) -> None:
    record = replay.replay(sampler, 0, 2, 12)
    assert len(record.trials) == 16 and record.stopped == "all 12 trials done"
    assert all(trial.state in ("complete", "stopped") for trial in record.trials)
    assert any(trial.points for trial in record.trials)
    again = replay.replay(sampler, 0, 2, 12)
    assert [trial.measurements for trial in again.trials] == [trial.measurements for trial in record.trials]
