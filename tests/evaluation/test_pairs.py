"""Designs against a reference: planted differences found, planted nulls not, whatever else happens to the runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from archsearch.evaluation.pairs import pairs
from archsearch.evaluation.verdicts import BETTER, INCOMPARABLE, MIXED, UNDECIDED, WORSE

LEVELS = (8.0, 16.0, 32.0)


def design(draw: np.random.Generator, factor: float = 1.0, tilt: float = 0.0, seeds: int = 3, noise: float = 0.003) -> list[dict[str, Any]]:
    """Returns runs with FVU `factor` times a power law of another exponent by `tilt`; noise of seeds and of the L0 reached."""
    found = []
    for seed in range(seeds):
        for asked in LEVELS:
            l0 = asked * math.exp(draw.normal(0, 0.01))
            fvu = factor * l0**-0.5 * (l0 / 16) ** tilt * math.exp(draw.normal(0, noise))
            found.append({"seed": seed, "asked": asked, "l0": l0, "fvu": fvu, "ce_recovered": 1 - fvu})
    return found


@pytest.mark.parametrize(("factor", "verdict"), [(0.95, BETTER), (1.05, WORSE)])
def test_a_planted_difference_is_found(factor: float, verdict: str) -> None:
    draw = np.random.default_rng(0)
    (pair,) = pairs({"A": design(draw), "B": design(draw, factor)}, LEVELS)
    assert (pair.reference, pair.other, pair.overall.verdict, pair.remark) == ("A", "B", verdict, "")
    assert pair.overall.low is not None and pair.overall.high is not None
    assert pair.overall.low < 100 * (factor - 1) < pair.overall.high
    assert pair.ce is not None and (pair.ce.mean > 0) == (factor < 1)
    assert pair.overall.sentence.endswith(f": {verdict}") and "L0 8" in pair.overall.sentence


def test_planted_nulls_are_found_out_as_seldom_as_promised() -> None:
    draw = np.random.default_rng(1)
    found = [pairs({"A": design(draw), "B": design(draw), "C": design(draw)}, LEVELS) for _ in range(80)]
    overall = [any(pair.overall.verdict in (BETTER, WORSE) for pair in told) for told in found]
    level = [any(one.verdict.verdict in (BETTER, WORSE) for pair in told for one in pair.levels) for told in found]
    assert np.mean(overall) < 0.13 and np.mean(level) < 0.13


def test_curves_that_cross_are_mixed() -> None:
    draw = np.random.default_rng(2)
    (pair,) = pairs({"A": design(draw, noise=1e-4), "B": design(draw, tilt=0.2, noise=1e-4)}, LEVELS)
    assert pair.overall.verdict == MIXED
    assert "better at L0 8." in pair.overall.sentence and "worse at L0 31." in pair.overall.sentence


def test_ce_recovered_may_say_otherwise() -> None:
    draw = np.random.default_rng(3)
    other = [{**row, "ce_recovered": row["ce_recovered"] - 0.1} for row in design(draw, 0.95)]
    (pair,) = pairs({"A": design(draw), "B": other}, LEVELS)
    assert pair.overall.verdict == BETTER and pair.remark.startswith("yet B recovers 0.0")


def test_one_seed_has_numbers_and_no_verdict() -> None:
    draw = np.random.default_rng(4)
    (pair,) = pairs({"A": design(draw, seeds=1), "B": design(draw, 0.5, seeds=1)}, LEVELS)
    assert (pair.overall.verdict, pair.overall.seeds) == (INCOMPARABLE, 1)
    assert pair.overall.percent == pytest.approx(-50, abs=3) and pair.remark == ""


def test_failed_runs_cost_what_they_are() -> None:
    draw = np.random.default_rng(5)
    rows = design(draw, 0.9)
    rows = [{"seed": row["seed"], "asked": row["asked"], "failure": "diverged"} if row["asked"] == 32 else row for row in rows]
    (pair,) = pairs({"A": design(draw), "B": rows}, LEVELS)
    assert [level.verdict.verdict for level in pair.levels] == [BETTER, BETTER, INCOMPARABLE]
    assert pair.overall.verdict == BETTER and pair.overall.band[1] < 17


@pytest.mark.parametrize("other", [[], [{"seed": 0, "asked": 8.0, "failure": "no"}]])
def test_nothing_measured_is_not_comparable(other: list[dict[str, Any]]) -> None:
    (pair,) = pairs({"A": design(np.random.default_rng(6)), "B": other}, LEVELS)
    assert (pair.overall.verdict, pair.ce) == (INCOMPARABLE, None)
    assert "no pair of runs landed near it" in pair.overall.sentence


def test_a_lone_point_is_judged_once() -> None:
    draw = np.random.default_rng(7)
    lone = [{**row, "asked": None} for row in design(draw, 0.8) if row["asked"] == 16]
    (pair,) = pairs({"A": design(draw), "B": lone}, LEVELS)
    assert pair.overall == pair.levels[0].verdict and pair.overall.verdict == BETTER
    nulls = pairs({"A": design(draw), "B": [{**row, "asked": None} for row in design(draw) if row["asked"] == 16]}, LEVELS)
    assert nulls[0].overall.verdict == UNDECIDED
