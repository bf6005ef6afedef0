from __future__ import annotations

from dataclasses import replace

import pytest

from archsearch.reporting.ladder import ladder_words, saved
from archsearch.search.records import Climbed, StudyRecord, TrialRecord


def trial(number: int, state: str, fvu: float, l0: float = 8.0) -> TrialRecord:
    found = {"l0": l0, "fvu": fvu} if state == "complete" else {}
    spec = {"training": {"tokens": 1000}}
    return TrialRecord(number, number, 0, state, spec, {}, "", f"a{number}", f"r{number}", measurements=found)


def study() -> StudyRecord:
    """Four finished in the order of their rung but for one swap; two stopped, one at each rung."""
    trials = [trial(n, "complete", fvu) for n, fvu in enumerate([0.1, 0.3, 0.2, 0.4])] + [trial(4, "stopped", 0), trial(5, "stopped", 0)]
    rungs = {n: {0.25: {"fvu": 0.5 + n / 10}, 0.5: {"fvu": 0.4 + n / 10}} for n in range(5)} | {5: {0.25: {"fvu": 1.0}}}
    return StudyRecord("s", "", {}, ("l0", "fvu"), (1.0, 64.0), trials, 6, climbed=Climbed(rungs, frozenset({3})))


def test_what_was_saved_is_counted_by_hand():
    found = saved(study())
    assert found is not None
    assert (found.stopped, found.audited, found.lost) == (2, 1, 0)
    assert found.saved_frac == pytest.approx((0.5 + 0.75) / 6)
    assert found.agreement == {0.25: pytest.approx(0.8), 0.5: pytest.approx(0.8)}  # 1 - 6 * 2 / (4 * 15)


def test_an_audited_trial_on_the_front_is_said_to_be_lost():
    record = study()
    record = replace(record, climbed=replace(record.climbed, audited=frozenset({0, 3})))
    assert ladder_words(record)[-1] == "Of 2 finished for the audit though behind, 1 stands on the front."


def test_without_a_ladder_there_is_nothing_to_say():
    assert ladder_words(replace(study(), climbed=Climbed())) == []
