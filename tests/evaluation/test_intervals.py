"""Intervals against tables, against scipy's own paired test, and against what they promise over many draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from archsearch.evaluation.intervals import Interval, holm, paired


def test_a_textbook_interval() -> None:
    found = paired([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.3027; standard error 1 / sqrt 3
    assert (found.mean, found.count) == (2.0, 3)
    assert found.high - found.mean == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_paired_t_test(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.normal(size=7), draw.normal(0.3, size=7)
    theirs = stats.ttest_rel(first, second)
    found = paired([float(value) for value in first - second], confidence=0.9)
    low, high = theirs.confidence_interval(0.9)
    assert (found.p, found.low, found.high) == pytest.approx((theirs.pvalue, low, high))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    held = [found.low <= 0.5 <= found.high for found in (paired(row.tolist()) for row in draw.normal(0.5, 1.0, (4000, 3)))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


def test_one_difference_says_nothing_of_its_spread() -> None:
    assert paired([-0.2]) == Interval(-0.2, -math.inf, math.inf, 1.0, 1)


def test_differences_all_alike() -> None:
    found = paired([0.1, 0.1, 0.1])
    assert (found.mean, found.low, found.high, found.p) == pytest.approx((0.1, 0.1, 0.1, 0.0))
    assert paired([0.0, 0.0]) == Interval(0.0, 0.0, 0.0, 1.0, 2)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf, 0.0]])
def test_what_is_no_difference_is_refused(values: list[float]) -> None:
    with pytest.raises(AssertionError, match="finite"):
        paired(values)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x 0.01; 2 x 0.03; 1 x 0.04 raised to the one before
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_lets_no_more_than_its_share_of_nulls_through() -> None:
    draw = np.random.default_rng(1)
    wrong = [min(holm(row.tolist())) <= 0.05 for row in draw.uniform(size=(4000, 4))]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.012)
