"""Judging repeats: bands, pairs of seeds, what is missing, and what is taken back."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from archsearch.evaluation.verdicts import BETTER, INCOMPARABLE, UNDECIDED, WORSE, Verdict
from archsearch.search.judging import Curves, Judgement, adjacent, below_best, judge, octaves

LEVELS = (8.0, 16.0, 32.0, 64.0)
BAND = (4.0, 80.0)


def rows(factor: float, seeds: int = 5, noise: float = 0.003, l0s: Sequence[float] = LEVELS, name: str = "") -> list[dict[str, Any]]:
    """Returns a design's runs: FVU `factor` over the root of L0, and noise of its own."""
    chance = random.Random(f"{name}{factor}")
    found = []
    for seed in range(seeds):
        for level, l0 in enumerate(l0s):
            found.append({"seed": seed, "level": level, "l0": l0, "fvu": factor / math.sqrt(l0) * math.exp(chance.gauss(0, noise))})
    return found


def told(candidate: list[dict[str, Any]], baseline: list[dict[str, Any]], band: tuple[float, float] = BAND) -> Judgement:
    return judge([Curves.of("mine", False, candidate), Curves.of("theirs", True, baseline)], band)


def by_band(judgement: Judgement) -> dict[tuple[float, float], Verdict]:
    return {verdict.band: verdict for verdict in judgement.verdicts}


@pytest.mark.parametrize(
    ("band", "bands"),
    [
        ((4, 64), [(4, 8), (8, 16), (16, 32), (32, 64)]),
        ((4, 80), [(4, 8), (8, 16), (16, 32), (32, 64)]),  # a third of an octave is left above 64: too little
        ((5, 50), [(5, 8), (8, 16), (16, 32), (32, 50)]),
        ((9, 10), [(9, 10)]),
        ((0.3, 1.0), [(0.3, 0.5), (0.5, 1.0)]),
    ],
)
def test_bands_are_octaves(band: tuple[float, float], bands: list[tuple[float, float]]) -> None:
    assert octaves(band) == bands


def test_better_and_worse_are_found_in_every_band_that_is_reached() -> None:
    judgement = told(rows(0.95), rows(1.0))
    assert judgement.bands == [(8, 16), (16, 32), (32, 64)]  # below 8 nobody was measured
    for verdict in judgement.verdicts:
        assert verdict.verdict == BETTER and verdict.percent == pytest.approx(-5, abs=0.6) and verdict.seeds == 5
        assert verdict.low is not None and verdict.high is not None and verdict.low < -5 < verdict.high + 0.5
    assert {verdict.verdict for verdict in told(rows(1.0), rows(0.95)).verdicts} == {WORSE}
    assert {verdict.verdict for verdict in told(rows(1.0, name="a"), rows(1.0, name="b")).verdicts} == {UNDECIDED}


def test_all_are_adjusted_together() -> None:
    many = [Curves.of(f"mine {n}", False, rows(0.99, noise=0.004, name=str(n))) for n in range(3)]
    baselines = [Curves.of(f"theirs {n}", True, rows(1.0, name=f"b{n}")) for n in range(2)]
    verdicts = judge([*many, *baselines], BAND).verdicts
    assert len(verdicts) == 3 * 2 * 3
    smallest = min(verdicts, key=lambda verdict: verdict.p or 0.0)
    assert smallest.p is not None and smallest.p_holm == pytest.approx(min(18 * smallest.p, 1.0))


def test_what_a_seed_does_to_all_drops_out() -> None:
    mine, theirs = rows(0.98, noise=0.001), rows(1.0, noise=0.001)
    shift = {seed: math.exp(random.Random(seed).gauss(0, 0.2)) for seed in range(5)}
    shifted = [[{**row, "fvu": row["fvu"] * shift[row["seed"]]} for row in one] for one in (mine, theirs)]
    assert [v.percent for v in told(*shifted).verdicts] == pytest.approx([v.percent for v in told(mine, theirs).verdicts], abs=0.05)
    assert {verdict.verdict for verdict in told(*shifted).verdicts} == {BETTER}


def test_less_than_half_of_a_band_is_not_comparable() -> None:
    judgement = told(rows(0.9, l0s=(8.0, 16.0, 21.0)), rows(1.0))
    assert judgement.bands == [(8, 16)]
    judgement = told(rows(0.9, l0s=(8.0, 16.0, 24.0)), rows(1.0))
    assert judgement.bands == [(8, 16), (16, 32)]


def test_a_pair_that_cannot_be_compared_where_another_can_says_why() -> None:
    short, long = Curves.of("short", False, rows(0.9, l0s=(8.0, 16.0))), Curves.of("long", False, rows(0.9))
    judgement = judge([short, long, Curves.of("theirs", True, rows(1.0))], BAND)
    found = {(verdict.candidate, verdict.band): verdict for verdict in judgement.verdicts}
    assert found["short", (16, 32)].verdict == INCOMPARABLE and "short does not reach it" in found["short", (16, 32)].sentence
    assert found["short", (16, 32)].percent is None and found["long", (16, 32)].verdict == BETTER


def test_a_failed_run_costs_its_seed_where_it_is_missed_and_nowhere_else() -> None:
    mine = [{**row, "l0": None, "fvu": None, "failure": "diverged"} if (row["seed"], row["level"]) == (2, 0) else row for row in rows(0.95)]
    found = by_band(told(mine, rows(1.0)))
    assert [found[band].seeds for band in ((8, 16), (16, 32), (32, 64))] == [4, 5, 5]
    assert all(verdict.verdict == BETTER for verdict in found.values())
    assert "4 seeds" in found[8, 16].sentence


def test_a_run_that_failed_in_the_middle_leaves_no_line_across() -> None:
    mine = [{**row, "failure": "diverged"} if (row["seed"], row["level"]) == (2, 1) else row for row in rows(0.95)]
    found = by_band(told(mine, rows(1.0)))
    assert [found[band].seeds for band in ((8, 16), (16, 32), (32, 64))] == [4, 4, 5]


def test_a_level_that_fails_with_every_seed_is_as_if_never_asked_for() -> None:
    mine = [{**row, "failure": "diverged"} if row["level"] == 3 else row for row in rows(0.95)]
    judgement = told(mine, rows(1.0))
    assert judgement.bands == [(8, 16), (16, 32)] and all(verdict.seeds == 5 for verdict in judgement.verdicts)


def test_nothing_left_is_no_judgement() -> None:
    failed = [{**row, "failure": "diverged"} for row in rows(0.95)]
    judgement = told(failed, rows(1.0))
    assert (judgement.bands, judgement.verdicts, judgement.areas, judgement.gains) == ([], [], [], {})
    alone = told(rows(0.95, seeds=1), rows(1.0, seeds=1))
    assert {verdict.verdict for verdict in alone.verdicts} == {INCOMPARABLE} and alone.areas[0]["low"] is None
    assert told(rows(0.95, l0s=(8.0,)), rows(1.0)).bands == []


def test_an_sae_without_a_single_latent_on_counts_as_failed() -> None:
    mine = [{**row, "l0": 0.0} if row["seed"] == 1 else row for row in rows(0.95)]
    assert {verdict.seeds for verdict in told(mine, rows(1.0)).verdicts} == {4}


def test_a_small_difference_between_other_l0s_is_taken_back_and_a_large_one_is_not() -> None:
    elsewhere = (5.7, 11.3, 22.6, 45.3)
    small, large = told(rows(0.995, noise=0.0002, l0s=elsewhere), rows(1.0, noise=0.0002)), told(rows(0.9, l0s=elsewhere), rows(1.0))
    assert {verdict.verdict for verdict in small.verdicts} == {INCOMPARABLE}
    assert "sweep: {l0: [...]}" in small.verdicts[0].sentence and small.verdicts[0].p_holm is not None
    assert {verdict.verdict for verdict in large.verdicts} == {BETTER}
    assert {verdict.verdict for verdict in told(rows(0.995, noise=0.0002), rows(1.0, noise=0.0002)).verdicts} == {BETTER}


def test_two_levels_each_at_other_l0s_are_never_called() -> None:
    found = told(rows(0.5, l0s=(6.0, 30.0)), rows(1.0, l0s=(10.0, 60.0))).verdicts
    assert found and {verdict.verdict for verdict in found} == {INCOMPARABLE}


def test_areas_and_hypervolume_say_how_much() -> None:
    judgement = told(rows(0.95, noise=0.0), rows(1.0, noise=0.0))
    (area,) = judgement.areas
    assert area["range"] == [8.0, 64.0] and area["percent"] == pytest.approx(-5.0, abs=0.05) and area["seeds"] == 5
    # Steps of one octave at FVU 1/sqrt(L0), the last up to the band's edge.
    widths = [1.0, 1.0, 1.0, math.log2(80 / 64)]
    expected = [sum(width * (1 - factor / math.sqrt(l0)) for width, l0 in zip(widths, LEVELS, strict=True)) for factor in (1.0, 0.95)]
    assert judgement.joint == pytest.approx(expected[0]) and judgement.gains["mine"].mean == pytest.approx(expected[1] - expected[0])
    worse = told(rows(1.1, noise=0.0), rows(1.0, noise=0.0))
    assert worse.gains["mine"].mean == 0.0


def test_a_promise_is_asked_of_the_best_baseline_there() -> None:
    mine, good, poor = (
        Curves.of("m", False, rows(0.9, noise=0.0)),
        Curves.of("g", True, rows(1.0, noise=0.0)),
        Curves.of("p", True, rows(2.0)),
    )
    found = below_best(mine, [poor, good], 20.0)
    assert found is not None and found[0] == 20.0 and found[1].mean == pytest.approx(math.log(0.9), abs=1e-3)
    near = below_best(mine, [good], 7.6)
    assert near is not None and near[0] == 8.0
    assert below_best(mine, [good], 5.0) is None and below_best(mine, [], 20.0) is None


def test_bands_that_touch_are_told_as_one() -> None:
    assert adjacent([(16.0, 32.0), (8.0, 16.0), (64.0, 128.0)]) == [(8.0, 32.0), (64.0, 128.0)]
