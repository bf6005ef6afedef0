"""Verdicts on differences whose answer is known: planted, null, few, none."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from archsearch.evaluation.intervals import holm, paired
from archsearch.evaluation.verdicts import BETTER, INCOMPARABLE, MIXED, UNDECIDED, WORSE, Question, Verdict, judged, summed_up

BAND = (8.0, 32.0)


def question(*differences: float, band: tuple[float, float] = BAND) -> Question:
    return Question("B", "A", band, differences)


def one(*differences: float) -> Verdict:
    return judged([question(*differences)])[0]


def test_a_clear_difference_in_words() -> None:
    found = one(-0.041, -0.043, -0.042)  # half width 4.3027 x 0.001 / sqrt 3 = 0.00248
    assert found.sentence == "B: 4.1% lower FVU than A at L0 8 to 32 (95% interval 3.9 to 4.4, 3 seeds): better"
    assert (found.verdict, found.seeds) == (BETTER, 3)
    assert (found.percent, found.low, found.high) == pytest.approx(
        tuple(100 * math.expm1(x) for x in (-0.042, -0.04448, -0.03952)), rel=1e-3
    )
    assert found.p == found.p_holm == paired([-0.041, -0.043, -0.042]).p


def test_the_other_way_round_is_worse() -> None:
    found = one(0.041, 0.043, 0.042)
    assert (found.verdict, found.sentence) == (WORSE, "B: 4.3% higher FVU than A at L0 8 to 32 (95% interval 4.0 to 4.5, 3 seeds): worse")


def test_what_would_have_been_seen_is_told_where_nothing_was() -> None:
    found = one(-0.01, 0.01, 0.0)
    half = 4.30265 * 0.01 / math.sqrt(3)
    assert found.verdict == UNDECIDED
    assert found.sentence == (
        "B: no difference from A found at L0 8 to 32 (0.0% higher FVU, 95% interval 2.5% lower to 2.5% higher, 3 seeds); "
        f"a difference of more than {100 * math.expm1(half):.1f}% would have been seen"
    )


def test_one_seed_gives_a_number_and_no_verdict() -> None:
    found = one(-0.2)
    assert (found.verdict, found.seeds, found.low, found.high, found.p) == (INCOMPARABLE, 1, None, None, None)
    assert found.percent == pytest.approx(-18.13, abs=0.01)
    assert "18.1% lower FVU than A at L0 8 to 32 on one seed; no verdict" in found.sentence


def test_nothing_to_compare_says_why() -> None:
    found = judged([Question("B", "A", (16.0, 16.0), (), "their curves do not meet")])[0]
    assert (found.verdict, found.percent, found.seeds) == (INCOMPARABLE, None, 0)
    assert found.sentence == "B: not comparable with A at L0 16: their curves do not meet"


def test_questions_asked_together_are_adjusted_together() -> None:
    rows = [(-0.02, -0.01, -0.03), (-0.1, -0.11, -0.12), (0.0, 0.01, -0.01)]
    found = judged([question(*row) for row in rows] + [question(-0.5), Question("B", "A", BAND, ())])
    assert [verdict.p_holm for verdict in found[:3]] == holm([paired(row).p for row in rows])
    assert [verdict.verdict for verdict in found] == [UNDECIDED, BETTER, UNDECIDED, INCOMPARABLE, INCOMPARABLE]


def test_a_difference_lost_to_the_number_of_questions_is_told_as_such() -> None:
    near = (-0.02, -0.01, -0.018)
    assert 0.0167 < paired(near).p < 0.05
    alone, together = one(*near), judged([question(*near), question(0.0, 0.01, -0.01), question(0.0, 0.01, -0.02)])[0]
    assert alone.verdict == BETTER
    assert together.verdict == UNDECIDED and "not enough for one of 3 questions asked together" in together.sentence


def test_among_nulls_a_difference_is_found_as_seldom_as_promised() -> None:
    draw = np.random.default_rng(3)
    found = [
        any(v.verdict != UNDECIDED for v in judged([question(*row) for row in rows])) for rows in draw.normal(0, 0.01, (400, 3, 3)).tolist()
    ]
    assert np.mean(found) == pytest.approx(0.05, abs=0.03)


def test_pairs_that_disagree_wildly_stay_printable() -> None:
    found = one(-30.0, 40.0)
    assert found.verdict == UNDECIDED
    json.dumps(found.as_dict(), allow_nan=False)


def at(l0: float, *differences: float) -> Question:
    return question(*differences, band=(l0, l0))


DOWN, UP, EVEN = (-0.1, -0.101, -0.102), (0.1, 0.101, 0.102), (0.01, -0.01, 0.0)


def test_both_ways_is_mixed() -> None:
    levels = judged([at(8.0, *DOWN), at(16.0, *EVEN), at(32.0, *UP)])
    found = summed_up(one(*EVEN), levels)
    assert found.verdict == MIXED
    assert found.sentence == "B against A: better at L0 8 (9.6% lower FVU) and worse at L0 32 (10.6% higher FVU): mixed"


def test_a_level_may_say_what_the_whole_does_not() -> None:
    found = summed_up(one(*EVEN), judged([at(8.0, *DOWN), at(16.0, *EVEN)]))
    assert found.verdict == UNDECIDED and found.sentence.endswith("would have been seen; better at L0 8 (9.6% lower FVU)")
    assert summed_up(one(*DOWN), judged([at(8.0, *DOWN)])) == one(*DOWN)
