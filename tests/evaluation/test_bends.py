"""Curves compared between their points: equal designs measured at other L0s must not seem to differ."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from archsearch.evaluation.bends import Pair
from archsearch.evaluation.curves import Point, area
from benchmarks.false_positives import CURVES, curve


def read(name: str, l0s: list[float], better: float = 0.0) -> list[Point]:
    """Returns points of a measured curve, `better` taken off its log FVU."""
    values = np.exp(curve(name)(np.log(np.array(l0s))) - better)
    return [(l0, float(value)) for l0, value in zip(l0s, values, strict=True)]


def mean(pair: Pair | None, low: float, high: float) -> float:
    assert pair is not None
    told = pair.mean(low, high)
    assert told is not None
    return told


ASKED = [8.0, 16.0, 32.0, 64.0]
MISSED = [8.3, 17.0, 34.2, 69.0]


@pytest.mark.parametrize(("name", "band"), list(product(CURVES, [(8.3, 16.0), (17.0, 32.0), (34.2, 64.0)])))
def test_equal_designs_measured_at_other_l0s_seem_alike(name: str, band: Point) -> None:
    first, second = read(name, ASKED), read(name, MISSED)
    assert abs(mean(Pair.of(first, second), *band)) < 0.009


def test_straight_lines_would_make_them_differ() -> None:
    first, second = read("topk", ASKED), read("topk", MISSED)
    lines = [area(one, 34.2, 64.0) for one in (first, second)]
    assert lines[0] is not None and lines[1] is not None and abs(lines[0] - lines[1]) > 0.02


@pytest.mark.parametrize(("name", "other"), list(product(CURVES, [ASKED, MISSED])))
def test_a_design_better_by_a_share_everywhere_is_found_so(name: str, other: list[float]) -> None:
    pair = Pair.of(read(name, ASKED, better=0.05), read(name, other))
    assert mean(pair, 17.0, 32.0) == pytest.approx(-0.05, abs=0.006)


def test_at_the_same_l0s_it_is_the_difference_of_the_points() -> None:
    first, second = [(8.0, 0.3), (16.0, 0.2), (32.0, 0.1)], [(8.0, 0.25), (16.0, 0.2), (32.0, 0.12)]
    pair = Pair.of(first, second)
    assert pair is not None
    for (l0, mine), (_, other) in zip(first, second, strict=True):
        assert pair.at(l0) == pytest.approx(math.log(mine / other), abs=1e-9)
    assert pair.apart(8.0, 32.0) == 0.0


def test_the_other_way_round_it_is_the_opposite() -> None:
    first, second = read("gated", ASKED, better=0.03), read("gated", MISSED)
    one, other = Pair.of(first, second), Pair.of(second, first)
    assert mean(one, 9.0, 60.0) == pytest.approx(-mean(other, 9.0, 60.0), abs=1e-9)
    assert one and other and one.doubt(9.0, 60.0) == pytest.approx(other.doubt(9.0, 60.0), abs=1e-9)


def test_points_far_from_each_other_leave_doubt() -> None:
    near, far = (Pair.of(read("topk", ASKED), read("topk", l0s)) for l0s in (ASKED, [11.0, 22.0, 45.0, 80.0]))
    assert near and far
    assert near.doubt(11.0, 64.0) < 1e-9 and near.apart(11.0, 64.0) == 0.0
    assert far.doubt(32.0, 64.0) > 0.02 and far.apart(32.0, 64.0) == pytest.approx(math.log2(16 / 11), abs=0.05)


def test_nothing_is_read_beyond_a_curve_and_a_point_is_none() -> None:
    pair = Pair.of(read("gated", ASKED), read("gated", MISSED))
    assert pair is not None and (pair.low, pair.high) == (8.3, 64.0)
    assert pair.mean(8.0, 16.0) is None and pair.mean(16.0, 65.0) is None and pair.at(8.0) is None
    assert pair.mean(16.0, 16.0) is None
    assert Pair.of([(8.0, 0.3)], [(8.0, 0.2), (16.0, 0.1)]) is None
    assert Pair.of([(8.0, 0.3), (16.0, 0.0)], [(8.0, 0.2), (16.0, 0.1)]) is None


def test_wild_curves_give_numbers() -> None:
    wild = [(8.0, 0.9), (8.001, 0.01), (40.0, 1e-12), (41.0, 5.0)]
    pair = Pair.of(wild, read("topk", ASKED))
    assert pair is not None and math.isfinite(mean(pair, 8.0, 41.0)) and math.isfinite(pair.doubt(8.0, 41.0))
