"""Curves matched at equal L0, on power laws with a planted difference."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest

from archsearch.evaluation.matching import Match, in_common, matched, over

LEVELS = (8.0, 16.0, 32.0)
WIDE = (8.0, 16.0, 32.0, 64.0)


def rows(factor: float = 1.0, off: float = 1.0, seeds: Iterable[int] = (0, 1, 2), levels: Iterable[float] = LEVELS) -> list[dict[str, Any]]:
    """Returns runs of one design: FVU `factor` times a power law (each seed a little apart), L0 missed by the factor `off`."""
    found = []
    for seed in seeds:
        for asked in levels:
            l0 = asked * off * (1 + 0.004 * seed)
            fvu = factor * (1 + 0.1 * seed) * l0**-0.5
            found.append({"seed": seed, "asked": asked, "l0": l0, "fvu": fvu, "ce_recovered": 0.5 + 0.1 * math.log2(l0) + factor / 100})
    return found


@pytest.mark.parametrize("off", [1.0, 0.97, 1.05])
def test_a_planted_factor_is_read_off_whatever_l0_was_reached(off: float) -> None:
    found = matched(rows(), rows(0.9, off), LEVELS)
    assert [match.asked for match in found] == list(LEVELS)
    for match in found:
        assert match.fvu == pytest.approx(dict.fromkeys((0, 1, 2), math.log(0.9)), abs=1e-3)
        assert match.ce == pytest.approx(dict.fromkeys((0, 1, 2), -0.001))


@pytest.mark.parametrize("off", [0.95, 1.08])
def test_equal_designs_on_a_bent_curve_are_equal_wherever_their_runs_landed(off: float) -> None:
    # Log FVU falls ever faster with log L0, as measured ones do; straight lines between points make up 0.3% here, with every seed.
    def bent(off: float) -> list[dict[str, Any]]:
        return [
            {**row, "fvu": math.exp(-0.4 * math.log(row["l0"]) - 0.06 * math.log(row["l0"]) ** 2)} for row in rows(off=off, levels=WIDE)
        ]

    for match in matched(bent(1.0), bent(off), WIDE):
        assert all(abs(difference) < 0.0006 for difference in match.fvu.values())


def test_the_ends_are_compared_where_all_curves_are() -> None:
    low, middle, high = matched(rows(), rows(0.9, 0.97), LEVELS)
    assert low.at == pytest.approx((8.0 * 1.008, 8.0 * 1.008))  # the reference's third seed begins there
    assert middle.at == (16.0, 16.0)
    assert high.at == pytest.approx((32 * 0.97, 32 * 0.97))  # the other's first seed ends there
    assert matched(rows(off=0.85), rows(off=0.85), LEVELS)[2].at == pytest.approx((32 * 0.85, 32 * 0.85))


def test_an_l0_far_outside_a_curve_is_not_compared() -> None:
    found = matched(rows(), rows(0.9, 2.0), LEVELS)
    assert [bool(match.fvu) for match in found] == [False, True, True]
    assert found[0].why == "no pair of runs landed near it (its own runs: L0 16 to 64.5; the other's: L0 8 to 32.3)"


def test_curves_that_do_not_meet() -> None:
    found = matched(rows(levels=(2.0, 3.0)), rows(levels=(40.0, 50.0)), LEVELS)
    assert not any(match.fvu or match.ce for match in found) and in_common(found) == [] and over([]) == {}


def test_a_lost_run_costs_its_l0_not_its_seed() -> None:
    other = [row if (row["seed"], row["asked"]) != (1, 32.0) else {"seed": 1, "asked": 32.0, "failure": "diverged"} for row in rows(0.9)]
    found = matched(rows(), other, LEVELS)
    assert [sorted(match.fvu) for match in found] == [[0, 1, 2], [0, 1, 2], [0, 2]]
    assert [match.asked for match in in_common(found)] == [8.0, 16.0]
    assert over(in_common(found)) == pytest.approx(dict.fromkeys((0, 1, 2), math.log(0.9)), abs=1e-3)


def test_a_lost_seed_is_no_pair() -> None:
    found = matched(rows(), [*rows(0.9, seeds=(0, 2)), *({"seed": 1, "asked": l0, "failure": "diverged"} for l0 in LEVELS)], LEVELS)
    assert [sorted(match.fvu) for match in found] == [[0, 2]] * 3


@pytest.mark.parametrize("broken", [{"fvu": math.nan}, {"fvu": 0.0}, {"l0": 0.0}, {"l0": math.nan}, {"failure": "diverged"}])
def test_a_curve_is_not_read_across_a_gap(broken: dict[str, float]) -> None:
    other = rows(0.9)
    other[4] = {**other[4], **broken}  # seed 1 at L0 16: the runs beside it are half and twice as sparse
    found = matched(rows(), other, LEVELS)
    assert [sorted(match.fvu) for match in found] == [[0, 1, 2], [0, 2], [0, 1, 2]]
    assert found[1].fvu == pytest.approx(dict.fromkeys((0, 2), math.log(0.9)), abs=1e-3)


def test_runs_near_an_l0_whose_curves_do_not_overlap() -> None:
    first, second = rows(levels=(8.0, 16.0)), [row for row in rows(off=1.1) if row["asked"] >= 16]
    assert "their curves share no L0 there" in matched(first, second, LEVELS)[1].why


def test_without_a_language_model_there_is_no_ce() -> None:
    plain = [{**row, "ce_recovered": None} for row in rows()]
    assert all(match.ce == {} and len(match.fvu) == 3 for match in matched(plain, rows(), LEVELS))


def lone(l0: float, seeds: Iterable[int] = (0, 1, 2)) -> list[dict[str, Any]]:
    return [{**row, "asked": None} for row in rows(0.8, levels=(l0,), seeds=seeds)]


@pytest.mark.parametrize("swapped", [False, True])
def test_one_trained_as_written_is_compared_where_it_lies(swapped: bool) -> None:
    pair = (lone(11.0), rows()) if swapped else (rows(), lone(11.0))
    (found,) = matched(*pair, LEVELS)
    assert (found.asked, found.at) == (None, pytest.approx((11.0, 11.0 * 1.008)))
    assert found.fvu == pytest.approx(dict.fromkeys((0, 1, 2), math.log(0.8) * (-1 if swapped else 1)))


def test_one_trained_as_written_outside_the_other_curve() -> None:
    (found,) = matched(rows(), lone(90.0), LEVELS)
    assert not found.fvu and "(its own: L0 90 to 90.7; the other: L0 8 to 32.3); ask for L0s on both sides" in found.why
    assert not matched(lone(9.0), lone(11.0), LEVELS)[0].fvu
    assert matched(rows(), [{"seed": 0, "asked": None, "failure": "no"}], LEVELS) == [
        Match(None, (0.0, 0.0), {}, {}, "none of its runs could be measured")
    ]
