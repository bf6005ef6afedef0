"""The front of trials and their points together."""

from __future__ import annotations

import random
from typing import Any

from archsearch.search.records import Point, TrialRecord, front, whole_front

BAND = (4.0, 64.0)


def trial(number: int, l0: float, fvu: float, *points: tuple[float, float, float], **more: Any) -> TrialRecord:
    """Returns a finished trial with points: L0, FVU and the L0 asked for."""
    cut = tuple(Point(asked, {}, f"{number}-{asked}", {"l0": low, "fvu": high}) for low, high, asked in points)
    found = {"l0": l0, "fvu": fvu, **more}
    return TrialRecord(number, number, 0, "complete", {}, {}, "", "", str(number), measurements=found, points=cut)


def labels(trials: list[TrialRecord], **more: Any) -> list[str]:
    return [one.label for one in whole_front(trials, BAND, **more)]


def test_points_stand_among_trials() -> None:
    assert labels([trial(0, 32, 0.1, (8, 0.3, 8), (16, 0.2, 16)), trial(1, 12, 0.25)]) == ["0 cut to L0 8", "1", "0 cut to L0 16", "0"]


def test_a_point_takes_the_place_of_a_trial_it_is_better_than() -> None:
    assert labels([trial(0, 32, 0.1, (8, 0.3, 8)), trial(1, 9, 0.31)]) == ["0 cut to L0 8", "0"]


def test_a_point_a_hair_below_a_better_sae_is_none_of_its_own() -> None:
    trials = [trial(0, 8.0, 0.3), trial(1, 32, 0.1, (7.9, 0.5, 8)), trial(2, 31, 0.2, (7.5, 0.6, 7.6))]
    assert labels(trials) == ["2 cut to L0 7.6", "0", "2", "1"]


def test_of_points_cut_to_one_l0_the_best_stands_for_all() -> None:
    trials = [trial(0, 32, 0.1, (8.4, 0.3, 8)), trial(1, 31, 0.2, (7.9, 0.4, 8)), trial(2, 30, 0.3, (7.5, 0.5, 8), (5, 0.6, 5))]
    assert labels(trials) == ["2 cut to L0 5", "0 cut to L0 8", "1", "0"]


def test_a_trial_is_not_kept_off_by_a_point_that_is_left_out() -> None:
    trials = [trial(0, 8.2, 0.3), trial(1, 32, 0.1, (7.9, 0.35, 8)), trial(2, 8.0, 0.4)]
    assert labels(trials) == ["2", "0", "1"]


def test_points_close_together_do_not_all_keep_each_other_off() -> None:
    points = [(l0, 1 / l0, l0) for l0 in (8.0, 8.2, 8.4, 8.6, 8.8)]
    assert labels([trial(0, 64, 0.01, *points)]) == ["0 cut to L0 8.2", "0 cut to L0 8.8", "0"]


def test_of_equal_values_the_trial_stands_before_the_point() -> None:
    assert labels([trial(0, 32, 0.1, (8, 0.3, 8)), trial(1, 8, 0.3)]) == ["1", "0"]


def test_other_objectives_than_l0_are_compared_as_they_are() -> None:
    trials = [trial(0, 32, 0.1, (8, 0.3, 8), flops=100), trial(1, 30, 0.2, flops=50)]
    assert labels(trials, objectives=("flops", "fvu")) == ["1", "0"]


def test_without_points_it_is_the_front() -> None:
    chance = random.Random(0)
    for objectives in (("l0", "fvu"), ("fvu", "l0"), ("l0", "fvu", "flops"), ("fvu", "flops"), ("l0",)):
        trials = [trial(n, chance.randint(3, 20), chance.randint(1, 9) / 10, flops=chance.randint(1, 4)) for n in range(60)]
        assert whole_front(trials, BAND, objectives) == front(trials, BAND, objectives)
