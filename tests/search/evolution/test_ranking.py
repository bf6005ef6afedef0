import random

from archsearch.search.evolution.ranking import drawn, layers, ranked
from archsearch.search.records import TrialRecord

BAND, BY = (2.0, 12.0), ("l0", "fvu")


def _trial(number: int, ask: int, l0: float, fvu: float, state: str = "complete") -> TrialRecord:
    return TrialRecord(number, ask, 0, state, {}, {}, "", "", f"{number}", None, {"l0": l0, "fvu": fvu})


def test_layers_are_fronts_taken_away_one_after_another():
    assert layers([(1, 3), (3, 1), (2, 2), (2, 3), (3, 3), (1, 3)]) == [0, 0, 0, 1, 2, 0]
    assert layers([]) == []


def test_a_structure_stands_where_its_best_trial_stands():
    trials = [_trial(0, 0, 4, 0.5), _trial(1, 0, 8, 0.9), _trial(2, 1, 4, 0.6), _trial(3, 1, 8, 0.7), _trial(4, 2, 8, 0.4)]
    assert ranked(trials, BAND, BY) == [0, 2, 1]  # ask 1 is beaten at both of its L0s


def test_of_one_layer_that_comes_first_which_adds_most_to_the_hypervolume():
    near = [_trial(0, 0, 4.0, 0.50), _trial(1, 1, 4.1, 0.49), _trial(2, 2, 8.0, 0.20)]
    assert ranked(near, BAND, BY)[0] == 2


def test_what_was_stopped_or_failed_or_lies_outside_the_band_counts_for_nothing():
    trials = [
        _trial(0, 0, 4, 0.1, "stopped"),
        _trial(1, 1, 4, 0.1, "failed"),
        _trial(2, 2, 20, 0.1),
        _trial(3, 3, 4, 0.9),
    ]
    assert ranked(trials, BAND, BY) == [3, 0, 1, 2]


def test_the_better_are_drawn_more_often_and_the_worst_still_has_its_chance():
    draw = random.Random(0)
    found = [drawn("abcd", draw) for _ in range(400)]
    counts = [found.count(letter) for letter in "abcd"]
    assert counts == sorted(counts, reverse=True) and counts[-1] > 0
