"""Invented studies from search to confirmation, a few of them; `python -m benchmarks.false_positives` tries thousands."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.false_positives import CURVES, World, curve, noise, study, tried


@pytest.mark.parametrize("name", CURVES)
def test_where_all_are_equal_next_to_nothing_is_found(name: str) -> None:
    outcomes = [study(World(name), np.random.default_rng([5, index]), structures=12) for index in range(10)]
    assert sum(outcome.false for outcome in outcomes) <= 2  # at 5%, more happen once in ninety times
    assert all(len(outcome.judgement.verdicts) >= 12 for outcome in outcomes)


def test_the_search_chose_what_was_lucky_and_fresh_seeds_say_so() -> None:
    told = tried(World("gated"), 12, structures=12)["first_candidate_percent"]
    assert told["in_the_search"] < -0.2 and told["with_fresh_seeds"] > told["in_the_search"] + 0.5


def test_what_is_five_percent_better_is_chosen_and_found() -> None:
    told = tried(World("gated", planted=-np.log(0.95)), 8, structures=12)
    assert told["chosen"]["share"] == told["found"]["share"] == 1.0
    assert told["first_candidate_percent"]["with_fresh_seeds"] == pytest.approx(-5, abs=0.5)


def test_the_noise_is_that_of_the_study_of_gates() -> None:
    told = noise()
    assert all(0.002 < level < 0.02 for level in told.level) and 0 < told.l0 < 0.1 and len(told.reached) >= 6
    assert 0 < told.seed < min(told.level) and 0 < told.recipe < min(told.level)


def test_the_curves_pass_near_what_was_measured() -> None:
    for name, points in CURVES.items():
        l0, fvu = np.array(points).T
        assert np.abs(curve(name)(np.log(l0)) - np.log(fvu)).max() < 0.03
