"""The front against baselines, on numbers small enough to follow by hand."""

from __future__ import annotations

import json
import math

import pytest

from archsearch.reporting.front import baseline_curves, counts, front_json, front_rows, versus
from archsearch.search.records import StudyRecord
from tests.reporting.conftest import study, trial


def small() -> StudyRecord:
    """Baseline `a` from L0 4 to 16, baseline `b` from 8 to 64; one trial better than both, one beyond both, one dominated."""
    return study(
        [
            trial(0, 4, 0.4, baseline="a"),
            trial(1, 16, 0.2, baseline="a"),
            trial(2, 8, 0.5, baseline="b"),
            trial(3, 80, 0.1, baseline="b"),
            trial(4, 8, 0.27),
            trial(5, 60, 0.05),
            trial(6, 10, 0.9),
        ]
    )


def test_each_front_member_meets_the_best_baseline_at_its_l0() -> None:
    rows = {row.trial: row for row in front_rows(small())}
    assert sorted(rows) == [0, 1, 4, 5]
    against = rows[4].versus
    assert against is not None
    assert (against.baseline, against.fvu) == ("a", pytest.approx(math.sqrt(0.4 * 0.2)))  # half way in log L0
    assert against.percent == pytest.approx(100 * (0.27 / math.sqrt(0.08) - 1))
    own = rows[1].versus
    assert own is not None and (own.baseline, own.percent) == ("a", 0.0)


def test_a_baseline_reaches_as_far_as_its_trials_beyond_the_band() -> None:
    against = {row.trial: row.versus for row in front_rows(small())}[5]
    assert against is not None and against.baseline == "b"
    share = math.log(60 / 8) / math.log(80 / 8)
    assert against.fvu == pytest.approx(0.5 ** (1 - share) * 0.1**share)


def test_a_dominated_baseline_trial_is_no_part_of_its_curve() -> None:
    record = study([trial(0, 4, 0.4, baseline="a"), trial(1, 8, 0.45, baseline="a"), trial(2, 16, 0.2, baseline="a")])
    assert [one.number for one in baseline_curves(record)["a"]] == [0, 2]


def test_a_baseline_without_a_finished_trial_has_an_empty_curve() -> None:
    record = study([trial(0, 4, 0.4, baseline="a", state="failed", measurements={}), trial(1, 8, 0.3)])
    assert baseline_curves(record) == {"a": []}
    assert front_rows(record)[0].versus is None


def test_a_perfect_baseline_gives_no_percentage() -> None:
    found = versus((8.0, 0.1), {"a": [trial(0, 8, 0.0)]})
    assert found is not None and math.isnan(found.percent)


def test_trials_are_counted_by_state() -> None:
    record = study([trial(0, 8, 0.1), trial(1, 100, 0.1), trial(2, 8, math.nan), trial(3, 8, 0.2, state="failed", measurements={})])
    assert counts(record) == {"complete": 3, "failed": 1, "outside_band": 2}


def test_front_json_is_strict_json_with_specs_hashes_and_provenance() -> None:
    record = study([trial(0, 8, 0.1, measurements={"l0": 8.0, "fvu": 0.1, "ce_recovered": math.nan})])
    told = json.loads(json.dumps(front_json(record), allow_nan=False))
    member = told["front"][0]
    assert member["spec"] == record.trials[0].spec
    assert (member["arch"], member["run"]) == ("a0", "r0")
    assert member["measurements"] == {"l0": 8.0, "fvu": 0.1, "ce_recovered": None}
    assert member["versus_baseline"] is None
    assert told["provenance"]["machine"] == "2 CPU cores"
    assert (told["question"], told["command"], told["band"]) == (record.question, record.command, [4.0, 64.0])


def test_an_empty_study_has_an_empty_front() -> None:
    told = front_json(study([]))
    assert (told["front"], told["baselines"], told["trials"]) == ([], {}, {"outside_band": 0})


def test_whoever_lies_a_hair_beyond_the_better_baseline_is_not_set_against_the_worse():
    curves = {"good": [trial(0, 8, 0.2), trial(1, 64, 0.05)], "poor": [trial(2, 8, 0.4), trial(3, 70, 0.1)]}
    near, far = versus((64.5, 0.049), curves), versus((66.0, 0.049), curves)
    assert near is not None and (near.baseline, near.fvu) == ("good", 0.05)
    assert far is not None and far.baseline == "poor"
