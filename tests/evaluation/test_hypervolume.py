"""Hypervolume: a worked example, an independent count, and what must not change it."""

from __future__ import annotations

import math
import random

import pytest

from archsearch.evaluation.hypervolume import hypervolume

BAND = (4.0, 64.0)


def test_two_points_by_hand() -> None:
    # From L0 8 to 16 the first alone counts, 1 octave of 1 - 0.5; from 16 to 64 the second, 2 octaves of 1 - 0.25.
    assert hypervolume([(8.0, 0.5), (16.0, 0.25)], BAND) == pytest.approx(0.5 + 1.5)
    assert hypervolume([], BAND) == 0.0


def test_it_is_the_share_of_random_places_that_are_dominated() -> None:
    chance = random.Random(0)
    points = [(2 ** chance.uniform(1.5, 6.5), chance.uniform(0.05, 1.1)) for _ in range(12)]
    places = [(2 ** chance.uniform(2, 6), chance.uniform(0, 1)) for _ in range(40_000)]
    share = sum(any(l0 <= x and fvu <= y for l0, fvu in points) for x, y in places) / len(places)
    assert hypervolume(points, BAND) == pytest.approx(4 * share, abs=0.03)


def test_dominated_points_and_those_beyond_the_reference_add_nothing() -> None:
    front = [(8.0, 0.5), (16.0, 0.25)]
    assert hypervolume([*front, (20.0, 0.3), (64.0, 0.1), (100.0, 0.01), (5.0, 1.0), (0.0, 0.2)], BAND) == hypervolume(front, BAND)


def test_a_point_below_the_band_stands_at_its_edge() -> None:
    assert hypervolume([(3.9, 0.5)], BAND) == hypervolume([(4.0, 0.5)], BAND) == pytest.approx(4 * 0.5)


def test_more_can_only_add(n: int = 30) -> None:
    chance = random.Random(1)
    points = [(2 ** chance.uniform(2, 6), chance.random()) for _ in range(n)]
    found = [hypervolume(points[:count], BAND) for count in range(n + 1)]
    assert found == sorted(found) and found[-1] <= math.log2(BAND[1] / BAND[0])
