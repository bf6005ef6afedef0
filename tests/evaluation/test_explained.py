"""The share of a spread that goes with a choice."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest

from archsearch.evaluation.explained import NOWHERE, Column


def test_words_explain_what_their_means_do() -> None:
    words, values = ["a", "a", "b", "b", "c", "c"], [1.0, 2.0, 5.0, 6.0, 0.0, 1.0]
    mean = fmean(values)
    groups = {word: fmean(v for w, v in zip(words, values, strict=True) if w == word) for word in words}
    whole = sum((value - mean) ** 2 for value in values)
    error = sum((value - groups[word]) ** 2 for word, value in zip(words, values, strict=True))
    raw, share = Column.of(words).explained(np.array(values))
    assert raw == pytest.approx((whole - error) / whole)
    assert share == pytest.approx((whole - error - 2 * error / 3) / whole)  # two degrees of freedom, three left


def test_a_number_explains_what_a_parabola_does_and_wide_ones_by_their_logarithm() -> None:
    places = [0.001 * 10 ** (step / 3) for step in range(7)]
    values = np.array([(math.log(place) + 3) ** 2 for place in places])
    assert Column.of(places).explained(values)[0] == pytest.approx(1.0)
    assert Column.of([1, 2, 3, 4]).explained(np.array([1.0, 4.0, 9.0, 16.0]))[0] == pytest.approx(1.0)
    assert not Column.of([1, 2, 3]).words and Column.of([True, False]).words and Column.of([1, "a"]).words


def test_under_a_branch_values_count_from_their_own_mean() -> None:
    values = np.array([10.0, 10.0, 10.0, 0.0, 2.0, 0.0, 2.0])
    column = Column.of([NOWHERE, NOWHERE, NOWHERE, "a", "b", "a", "b"])
    whole = float(((values - values.mean()) ** 2).sum())
    assert column.explained(values)[0] == pytest.approx(4.0 / whole) and column.options == 2


@pytest.mark.parametrize(
    "values", [["a"] * 5, ["a", "b", "c", "d", "e"], [NOWHERE] * 5, [1.0] * 5], ids=["one option", "all apart", "nowhere", "one number"]
)
def test_what_cannot_be_judged_explains_nothing(values: list[object]) -> None:
    assert Column.of(values).explained(np.arange(5.0)) == (0.0, 0.0)
    assert Column.of(["a", "b"] * 2 + ["a"]).explained(np.ones(5)) == (0.0, 0.0)


def test_chance_explains_nothing_on_average() -> None:
    draw = np.random.default_rng(0)
    words = [str(place % 4) for place in range(20)]
    raw = [Column.of(words).explained(draw.normal(size=20)) for _ in range(200)]
    assert fmean(one[0] for one in raw) == pytest.approx(3 / 19, abs=0.03)
    assert fmean(one[1] for one in raw) < 0.08
