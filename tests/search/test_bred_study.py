"""Studies whose structures are bred: what is written, what Optuna is told, and that a stopped one goes on with the same structures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from archsearch.errors import InvalidInput
from archsearch.search.ledger import Ledger, database_url
from archsearch.search.sampler import Sampling
from archsearch.search.study import Options, run_study
from archsearch.search.tables import GenomeRow
from tests.search.stubs import stub_training
from tests.search.test_study import essence
from tests.search.test_walk import crash

SPACE = """
name: bred
activations: {source: synthetic, features: 48, model: 16, active: 3, rows: 4096, eval_rows: 512}
sae:
  width: 48
  graph: {center: pre_bias, encoder: linear_encoder, gate: {oneof: {topk: topk, batch_topk: batch_topk}}, decoder: linear_decoder}
  training: {tokens: 2560, batch: 64, optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}}}
study: {trials: 24, sweep: {l0: [2, 4]}, band: [1, 8]}
"""
OPTIONS = Options(precision="float32", device="cpu", sampler="evolution", asks=2)


@pytest.fixture
def bred(tmp_path: Path) -> Path:
    path = tmp_path / "bred.yaml"
    path.write_text(SPACE)
    return path


def genomes(folder: Path) -> list[GenomeRow]:
    ledger = Ledger.open(database_url(folder), "bred")
    assert ledger is not None
    with Session(ledger.engine) as session:
        return list(session.scalars(select(GenomeRow).order_by(GenomeRow.ask)))


def test_structures_are_bred_and_optuna_is_told(bred: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    record = run_study(bred, replace(OPTIONS, out=tmp_path / "out"))
    assert [(t.ask, t.level) for t in record.trials] == [(ask, level) for ask in range(12) for level in range(2)]
    assert all(not t.params for t in record.trials) and len({t.run for t in record.trials}) == 24
    found = genomes(tmp_path / "out")
    assert [one.ask for one in found] == list(range(12))
    children = [one for one in found if one.parents]
    assert children and all(max(one.parents) < one.ask - 1 and one.how for one in children)  # of asks that had ended
    told = optuna.load_study(study_name="bred", storage=database_url(tmp_path / "out")).trials
    assert [(t.state.name, t.params) for t in told] == [("COMPLETE", {})] * 24


def test_after_a_crash_the_same_structures_are_bred(bred: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    whole = run_study(bred, replace(OPTIONS, out=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        crash(patch, Sampling, "ask_fixed", 21)
        with pytest.raises(RuntimeError, match="power cut"):
            run_study(bred, replace(OPTIONS, out=tmp_path / "parts"))
    assert essence(run_study(bred, replace(OPTIONS, out=tmp_path / "parts"))) == essence(whole)


def test_bred_saes_are_trained(bred: Path, tmp_path: Path) -> None:
    record = run_study(bred, replace(OPTIONS, out=tmp_path / "out", trials=20))
    complete = [t for t in record.trials if t.state == "complete"]
    assert len(record.trials) == 20 and len(complete) >= 12 and all(t.measurements["fvu"] < 1.5 for t in complete)


def test_a_sweep_over_weights_is_refused_before_anything_is_written(space: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="sweep must be over L0 itself"):
        run_study(space, replace(OPTIONS, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
