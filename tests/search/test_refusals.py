"""Branches of a space that never gave a legal SAE are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archsearch.search.ledger import read_study
from archsearch.search.refusals import refused_branches
from archsearch.search.study import Options, run_study
from tests.search.stubs import stub_training
from tests.search.test_walk import refusing


def event(problem: str, **picks: Any) -> dict[str, Any]:
    return {"problem": problem, "picks": picks}


def test_only_branches_of_which_nothing_came_are_told_and_of_nested_ones_the_outermost() -> None:
    events = [
        {"problem": "of an older version"},
        event("first", gate="x", norm="unit"),
        event("second\nand third", gate="x", norm="free", **{"gate@x.graph.gate.kernel": "wide"}),
        event("another", gate="y", norm="odd"),
    ]
    drawn: list[dict[str, Any]] = [{"gate": "y", "norm": "unit", "lr": 0.1}, {"gate": "y", "norm": "free"}]
    assert refused_branches(events, drawn) == (
        "branch gate@x: every draw was refused (2 in all), the last because second; and third",
        "branch norm@odd: every draw was refused (1 in all), the last because another",
    )
    assert refused_branches([], drawn) == ()
    (inner,) = refused_branches(events, [{"gate": "x", "norm": "odd"}, *drawn])
    assert inner.startswith("branch gate@x.graph.gate.kernel@wide: every draw was refused (1 in all)")


def test_a_study_tells_of_a_branch_that_was_always_refused(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    refusing(monkeypatch, lambda draft: draft.baseline is None and draft.params["gate"] == "topk")
    record = run_study(space, Options(precision="float32", device="cpu", out=tmp_path / "out", trials=15))
    (said,) = record.refused
    assert said.startswith("branch gate@topk: every draw was refused (") and said.endswith("the last because a test of no meaning")
    assert read_study(tmp_path / "out").refused == record.refused
