"""Splicing what a study kept: what it tells while it goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archsearch.search.records import TrialRecord
from archsearch.search.splicing import Splicing
from archsearch.search.weights import Weights


class Clock:
    """Two seconds for an SAE; the first, with which the model is opened, takes twenty."""

    def __init__(self) -> None:
        self.now, self.spliced = 100.0, list[Any]()

    def __call__(self) -> float:
        return self.now

    def splice(self, sae: Any) -> dict[str, float]:
        self.now += 2.0 if self.spliced else 20.0
        self.spliced.append(sae)
        return {"ce_recovered": 0.5}


class Noted:
    """A ledger that lists what is written to it."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float | None]] = []

    def measure(self, number: int, found: dict[str, float]) -> None:
        self.rows.append((number, None))

    def measure_point(self, number: int, level: float, found: dict[str, float]) -> None:
        self.rows.append((number, level))


def trial(number: int, cut_to: float | None = None) -> TrialRecord:
    return TrialRecord(number, 0, 0, "complete", {}, {}, "", "", "", cut_to=cut_to)


@pytest.fixture
def splicing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Splicing:
    for number in (1, 3):
        (tmp_path / f"{number}.safetensors").touch()
    clock, read = Clock(), list[int]()

    def reading(self: Splicing, trial: TrialRecord, ones: list[TrialRecord]) -> list[str]:
        read.append(trial.number)
        return [one.label for one in ones]

    monkeypatch.setattr(Splicing, "_read", reading)
    told: Any = SimpleNamespace(spliced=clock.splice, clock=clock, read=read)
    noted: Any = Noted()
    return Splicing(noted, Weights(tmp_path), told, None, "cpu", clock)


ONES = [trial(1), trial(1, 4.0), trial(1, 8.0), trial(2), trial(3, 4.0)]
"""Of the second no weights are kept."""


def test_time_left_is_told_from_the_third_on_without_what_the_first_took(splicing: Splicing) -> None:
    told = list(splicing.each(ONES, {number: trial(number) for number in (1, 2, 3)}))
    assert told == [(0.0, None), (0.25, None), (0.5, 4.0), (0.75, 2.0)]


def test_an_sae_is_read_once_for_all_its_points(splicing: Splicing) -> None:
    noted, told = vars(splicing)["ledger"], vars(splicing)["measuring"]
    list(splicing.each(ONES, {number: trial(number) for number in (1, 2, 3)}))
    assert noted.rows == [(1, None), (1, 4.0), (1, 8.0), (3, 4.0)]
    assert told.read == [1, 3]


def test_who_stops_listening_stops_it_with_nothing_lost(splicing: Splicing) -> None:
    noted = vars(splicing)["ledger"]
    for done, _ in splicing.each(ONES, {number: trial(number) for number in (1, 2, 3)}):
        if done >= 0.5:
            break
    assert noted.rows == [(1, None), (1, 4.0)]
