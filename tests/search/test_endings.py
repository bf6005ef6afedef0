"""What ends a study before its trials are done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archsearch.errors import InvalidInput
from archsearch.search.endings import Ending, trained_tokens
from archsearch.search.ledger import read_study
from archsearch.search.records import TrialRecord
from archsearch.search.study import Options, run_study
from archsearch.spec.stop import StopSpec
from tests.search.stubs import stub_training

OPTIONS = Options(precision="float32", device="cpu")
BAND = (1.0, 8.0)


def trial(number: int, l0: float, fvu: float, **changes: Any) -> TrialRecord:
    spec = {"training": {"tokens": 1000, "batch": 10}}
    return replace(TrialRecord(number, number, 0, "complete", spec, {}, "", "", "", measurements={"l0": l0, "fvu": fvu}), **changes)


def rule(seconds: float = 0.0, **stop: Any) -> Ending:
    ledger: Any = None
    return Ending(ledger, StopSpec.model_validate(stop), BAND, before=seconds)


def stopping(space: Path, **stop: Any) -> Path:
    """Writes the rules of a space anew (its last entry)."""
    text = space.read_text().partition(", stop:")[0].rstrip().removesuffix("}")
    space.write_text(f"{text}, stop: {stop}}}\n")
    return space


def test_without_a_rule_nothing_ends_it() -> None:
    assert rule(10**9).reached([trial(n, 2, 0.5) for n in range(100)]) == ""


def test_the_clock_of_all_sessions_counts() -> None:
    assert rule(7199, hours=2).reached([]) == ""
    assert "2 hours is spent" in rule(7200, hours=2).reached([])


def test_tokens_are_those_trained() -> None:
    stopped = trial(1, 2, 0.5, state="stopped", history=[(25, {})])
    assert [trained_tokens(one) for one in (trial(0, 2, 0.5), stopped, trial(2, 2, 0.5, copied_from=0))] == [1000, 250, 0]
    assert trained_tokens(replace(stopped, history=[]), 0.5) == 500
    assert rule(tokens=1251).reached([trial(0, 2, 0.5), stopped]) == ""
    assert "1,250 tokens are trained, of 1,250" in rule(tokens=1250).reached([trial(0, 2, 0.5), stopped])


def test_a_front_that_stands_still_ends_it() -> None:
    # FVU 0.5 at L0 2 of [1, 8]: two octaves times 0.5, one. A gain of 1% is FVU 0.495 there.
    still = [trial(0, 2, 0.5, baseline="topk"), *[trial(n, 2, 0.5) for n in (1, 2, 3)]]
    stalled = {"trials": 3, "gain": 0.009}
    assert rule(stalled=stalled).reached(still) == ""  # not one trial lies before those looked back on
    assert "stalled: over the last 3 trials it grew by 0.00%" in rule(stalled=stalled).reached([*still, trial(4, 2, 0.5)])
    assert rule(stalled=stalled).reached([*still, trial(4, 2, 0.495)]) == ""
    assert rule(stalled=stalled).reached([*still, trial(4, 2, 0.499)])
    assert rule(stalled=stalled).reached([*still, trial(4, 2, 0.1, state="running")]) == ""


def test_a_study_without_a_front_stalls_too() -> None:
    assert "grew by nothing" in rule(stalled={"trials": 2}).reached([trial(n, 100, 0.5) for n in range(3)])


def test_a_study_says_what_ended_it_and_goes_on_with_more(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    out = tmp_path / "out"
    record = run_study(stopping(space, tokens=2560 * 5), replace(OPTIONS, out=out, trials=30))
    assert len(record.trials) == 6 and "15,360 tokens are trained" in record.stopped  # the baseline's three and one ask more
    assert run_study(space, replace(OPTIONS, out=out, trials=30)).stopped == record.stopped
    record = run_study(stopping(space, tokens=2560 * 8), replace(OPTIONS, out=out, trials=30))
    assert len(record.trials) == 9
    record = run_study(stopping(space, tokens=10**9), replace(OPTIONS, out=out, trials=9))
    assert len(record.trials) == 12 and record.stopped == "all 9 trials done"


def test_a_budget_may_end_it_among_the_baselines(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    record = run_study(space, replace(OPTIONS, out=tmp_path / "out", hours=1e-9))
    assert record.trials == [] and "budget" in record.stopped
    assert read_study(tmp_path / "out").seconds > 0
    assert run_study(space, replace(OPTIONS, out=tmp_path / "out")).stopped == "all 6 trials done"


def test_rules_are_checked(space: Path) -> None:
    with pytest.raises(InvalidInput, match="tokens"):
        run_study(stopping(space, tokens=0), OPTIONS)
