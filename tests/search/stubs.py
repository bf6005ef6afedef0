"""Studies without training: measurements are a function of the run hash."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from archsearch.search import jobs, runner
from archsearch.training.looped import Looped
from archsearch.training.stacked import Stacked
from benchmarks.replay import Crew


def measured(run: str) -> dict[str, float]:
    """Returns made-up measurements of a run."""
    place = int(run[:6], 16) % 1000 / 1000
    return {"l0": 1 + 6 * place, "fvu": 1 - place, "dead_frac": int(run[6:10], 16) % 100 / 100}


class Instant(Crew):
    """A crew whose members are at their goals at once, and are not measured there."""

    def add(self, member: Any, until_frac: float, then: Any = None, rank: tuple[int, ...] = ()) -> None:
        self.there.append((member, None))


def stub_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts measurements in the place of training, from start to finish."""

    def start(self: Any, row: Any, members: dict[int, Any]) -> None:
        members[row.number] = SimpleNamespace(step=0, run=row.run)

    def finish(self: Any, number: int, member: Any, found: Any) -> None:
        self.ledger.finish(number, "complete", measured(member.run), "", [(1, {"loss": 1.0})])

    monkeypatch.setattr(jobs, "NUMERICS", 5)  # any: so that what is made up, and drawn from it, is the same when numbers change
    monkeypatch.setattr(runner.Runner, "_start", start)
    monkeypatch.setattr(runner.Runner, "_finish", finish)
    for executor in (Looped, Stacked):
        monkeypatch.setattr(executor, "crew", lambda self, tick=None, stop=None: Instant())
