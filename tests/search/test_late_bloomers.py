"""A planted late bloomer: an SAE with a ramp over its run stands far behind at every rung, and ends far ahead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from archsearch.search.climb import Climb
from archsearch.search.sampler import Sampling
from archsearch.spec.ladder import LadderSpec

RUNGS = (0.25, 0.5, 0.75)
LATE = 99


class Notebook:
    """Stands for the ledger: remembers what was measured where."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, float]] = []

    def climbed(self) -> Any:
        return SimpleNamespace(rungs={}, audited=frozenset())

    def rows(self) -> list[Any]:
        return []

    def measure(self, number: int, found: dict[str, float], frac: float) -> None:
        self.lines.append((number, frac))


def member(settled_frac: float) -> Any:
    receipt = SimpleNamespace(settled_frac=settled_frac)
    spec = SimpleNamespace(training=SimpleNamespace(tokens=1000))
    return SimpleNamespace(failure=None, assembly=SimpleNamespace(receipt=receipt, spec=spec))


def fvu(number: int, frac: float) -> float:
    """Others fall at once and then slowly; the late one stays high until its ramp has ended, at 0.6 of the run."""
    if number == LATE:
        return 0.9 if frac < 0.6 else 0.05
    return 0.3 + 0.01 * number - 0.1 * frac


def climbed(settled_frac: float) -> tuple[Notebook, dict[int, float], dict[int, Any]]:
    """Returns what was measured, who was stopped where, and who got to the end."""
    ledger: Any = Notebook()
    sampling = Sampling("sqlite://", "late", "random", 0, ("l0", "fvu"), (1.0, 64.0))
    climb = Climb(ledger, sampling, LadderSpec.model_validate({"rungs": list(RUNGS), "eta": 3}))
    members = {number: member(0.0) for number in range(9)} | {LATE: member(settled_frac)}
    stopped: dict[int, float] = {}
    for frac in RUNGS:
        found = {n: None if climb.passes(n, frac, one) else {"l0": 8.0, "fvu": fvu(n, frac)} for n, one in members.items()}
        for number in climb.stopped(frac, 0, -1, members, set(), found):
            stopped[number] = frac
            del members[number]
    return ledger, stopped, members


def test_it_is_neither_judged_nor_compared_with_before_its_ramp_has_ended() -> None:
    ledger, stopped, left = climbed(settled_frac=0.6)
    assert LATE in left and LATE not in stopped
    assert [frac for number, frac in ledger.lines if number == LATE] == [0.75]
    without = {number: frac for number, frac in climbed(settled_frac=1.0)[1].items() if frac < 0.75}
    assert {number: frac for number, frac in stopped.items() if frac < 0.75} == without


@pytest.mark.parametrize("settled_frac", [0.0, 0.25])
def test_one_that_does_not_say_so_is_lost(settled_frac: float) -> None:
    # What the audit is for: it tells of such a design.
    assert climbed(settled_frac)[1][LATE] == 0.25
