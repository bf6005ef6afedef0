"""How much choices mattered, in invented studies with a planted answer."""

from __future__ import annotations

import random
from typing import Any

import pytest

from archsearch.search.importance import LEAST_ASKS, BandImportance, importance
from archsearch.search.records import StudyRecord
from tests.reporting.conftest import spec_of, study, trial

GATES = {
    "gated": ({"kind": "gated", "training": "straight_through"}, 0.8),
    "topk": ({"kind": "topk", "k": 16}, 1.0),
    "relu": ({"kind": "relu"}, 1.2),
}


def planted(asks: int, effect: float = 1.0, known: bool = True) -> StudyRecord:
    """Returns a study in which the gate decides (its factor to the power `effect`), and the learning rate and a seed do nothing."""
    chance = random.Random(3)
    trials = []
    for ask in range(asks):
        name = chance.choice(sorted(GATES))
        gate, factor = GATES[name]
        rate, luck = chance.uniform(0.001, 0.01), chance.gauss(0, 0.02)
        params: dict[str, Any] = {"gate": name, "training.optimizer.lr": rate, f"gate@{name}.idle": chance.choice([1, 2]), "target_l0": 8}
        for level, l0 in enumerate((6.0, 12.0, 24.0)):
            near = l0 * chance.uniform(0.98, 1.02)
            fvu = 0.9 * near**-0.5 * factor**effect * (1 + luck)
            given = {"ask": ask, "level": level, "params": params if known else {}, "spec": spec_of(gate, rate)}
            trials.append(trial(len(trials), near, fvu, **given))
    return study(trials, band=(4.0, 32.0), space={"name": "planted"})


def shares(band: BandImportance) -> dict[str, tuple[float, float]]:
    return {one.names[0]: (one.share, one.p) for one in band.shares}


def test_the_planted_choice_is_found_in_every_octave() -> None:
    found = importance(planted(24))
    assert found.by == "holes" and len(found.bands) == 3
    for band in (found.whole, *found.bands):
        told = shares(band)
        assert band.asks == 24 and band.shares[0].names == ("gate",)
        assert told["gate"][0] > 0.8 and told["gate"][1] < 0.05 and band.shares[0].low > 0.5
        assert told["training.optimizer.lr"][1] > 0.05 and "target_l0" not in told


def test_nothing_is_found_where_nothing_is() -> None:
    told = shares(importance(planted(24, effect=0.0)).whole)
    assert all(p > 0.05 for _, p in told.values())


def test_settings_of_specs_do_where_nobody_asked_for_holes() -> None:
    found = importance(planted(24, known=False))
    assert found.by == "settings"
    first = found.whole.shares[0]
    assert first.names[0] == "graph.gate.kind" and first.share > 0.8
    assert not any("graph.gate.k" in one.names for one in found.whole.shares)  # it moves sparsity
    assert importance(planted(24), by_settings=True).whole.shares[0].names == first.names


def test_choices_that_go_together_are_one() -> None:
    record = planted(16)
    for one in record.trials:
        one.params["twin"] = one.params["gate"].upper()
    assert importance(record).whole.shares[0].names == ("gate", "twin")


def test_too_few_trials_say_so() -> None:
    found = importance(planted(LEAST_ASKS - 1))
    assert found.whole.shares == () and "not enough trials: 21 of 7 asks" in found.whole.why
    assert importance(study([])).whole.trials == 0


def test_the_same_study_gives_the_same_numbers() -> None:
    assert importance(planted(12)) == importance(planted(12))


@pytest.mark.parametrize("number", [0.0, -1.0])
def test_an_fvu_of_nothing_does_no_harm(number: float) -> None:
    record = planted(10)
    record.trials[0].measurements["fvu"] = number
    assert importance(record).whole.shares
