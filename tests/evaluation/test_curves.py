"""Reading curves, on power laws whose values are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from archsearch.evaluation.curves import area, at_l0, curve_of

CURVE = [(4.0, 0.4), (16.0, 0.1), (64.0, 0.05)]


def power(l0: float) -> float:
    return 0.9 * l0**-0.6


POWER = [(x, power(x)) for x in (3.0, 7.0, 20.0, 70.0)]


@pytest.mark.parametrize("l0", [3.0, 5.5, 7.0, 8.0, 33.3, 70.0])
def test_a_power_law_is_read_without_error(l0: float) -> None:
    assert at_l0(POWER, l0) == pytest.approx(power(l0), rel=1e-12)


def test_half_way_in_log_l0_is_the_geometric_mean_or_plain_mean() -> None:
    assert at_l0(CURVE, 8.0) == pytest.approx(0.2)
    assert at_l0(CURVE, 8.0, linear=True) == pytest.approx(0.25)
    assert at_l0(CURVE, 16.0) == 0.1  # a point of the curve is itself


@pytest.mark.parametrize("l0", [3.999, 64.001])
@pytest.mark.parametrize("linear", [False, True])
def test_nothing_is_read_outside_a_curve(l0: float, linear: bool) -> None:
    assert at_l0(CURVE, l0, linear=linear) is None
    assert area(CURVE, 5.0, l0) is None if l0 > 5 else area(CURVE, l0, 5.0) is None


def test_short_curves() -> None:
    assert at_l0([(8.0, 0.3)], 8.0) == 0.3
    assert at_l0([(8.0, 0.3)], 9.0) is None
    assert at_l0([], 8.0) is None
    assert area([], 8.0, 16.0) is None
    assert area([(8.0, 0.3)], 8.0, 8.0) == pytest.approx(math.log(0.3))


def test_values_without_a_logarithm() -> None:
    assert at_l0([(4.0, 0.2), (16.0, 0.0)], 8.0) is None
    assert at_l0([(4.0, 0.2), (16.0, 0.0)], 16.0) == 0.0
    assert at_l0([(4.0, -0.2), (16.0, 0.2)], 8.0, linear=True) == pytest.approx(0.0)
    assert area([(4.0, 0.2), (16.0, 0.0)], 4.0, 16.0) is None


@pytest.mark.parametrize(("low", "high"), [(4.0, 64.0), (5.0, 40.0), (5.0, 6.0), (16.0, 64.0)])
def test_the_mean_over_log_l0_equals_a_fine_sum(low: float, high: float) -> None:
    places = np.linspace(math.log(low), math.log(high), 20001)[1:-1]
    fine = np.mean([math.log(at_l0(CURVE, float(np.exp(place))) or math.nan) for place in places])
    assert area(CURVE, low, high) == pytest.approx(float(fine), abs=1e-4)


def test_a_constant_factor_shifts_the_area_by_its_logarithm() -> None:
    other = [(x, 0.96 * power(x)) for x in (2.0, 9.0, 90.0)]
    first, second = area(POWER, 8.0, 32.0), area(other, 8.0, 32.0)
    assert first is not None and second is not None
    assert second - first == pytest.approx(math.log(0.96))


def test_a_curve_is_made_of_measurements_in_any_order() -> None:
    points = [(16.0, 0.1), (8.0, 0.3), (math.nan, 0.2), (0.0, 0.9), (4.0, math.nan), (8.0, 0.2), (math.inf, 0.0)]
    assert curve_of(points) == [(8.0, 0.25), (16.0, 0.1)]
