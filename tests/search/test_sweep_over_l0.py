"""A study that sweeps over L0 itself: every structure, and every baseline, is brought to the levels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from archsearch.search.study import run_study
from tests.search.conftest import SPACE
from tests.search.test_study import OPTIONS


def test_every_structure_and_baseline_is_brought_to_every_level(tmp_path: Path) -> None:
    text = SPACE.replace("weight: {float: [0.5, 5], log: true}", "weight: 1.0").replace("k: {int: [1, 8], log: true}", "k: 4")
    space = tmp_path / "levels.yaml"
    space.write_text(text.replace("sweep: 3", "sweep: {l0: [2, 4]}"))
    record = run_study(space, replace(OPTIONS, out=tmp_path / "study"))
    assert {t.baseline for t in record.trials} == {"topk", None} and all(t.state == "complete" for t in record.trials)
    for trial in record.trials:
        gate = trial.spec["graph"]["gate"]
        asked = gate["k"] if gate["kind"] == "topk" else trial.spec["controller"]["l0"]
        assert asked in (2, 4)
        assert (f"k {asked}" if gate["kind"] == "topk" else f"l0 {asked:g}") in trial.words
    searched = [t for t in record.trials if t.baseline is None]
    assert all(t.params["target_l0"] in (2, 4) for t in searched)
