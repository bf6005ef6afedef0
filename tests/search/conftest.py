"""A space small enough to be searched in seconds, on synthetic activations."""

from __future__ import annotations

from pathlib import Path

import pytest

SPACE = """
name: tiny
question: Does the machinery hold?
activations: {source: synthetic, features: 48, model: 16, active: 3, rows: 4096, eval_rows: 512}
sae:
  width: 48
  graph: {center: pre_bias, encoder: linear_encoder, gate: relu, decoder: linear_decoder}
  training: {tokens: 2560, batch: 64, optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}}}
variants:
  gate:
    oneof:
      relu: {losses.sparsity: {kind: l1, weight: {float: [0.5, 5], log: true}}}
      topk: {graph.gate: {kind: topk, k: {int: [1, 8], log: true}}}
baselines:
  topk:
    width: 48
    graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: {int: [1, 8], log: true}}, decoder: linear_decoder}
    training: {tokens: 2560, batch: 64, optimizer: {kind: adam, lr: 0.003}}
study: {trials: 6, sweep: 3, band: [1, 8]}
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHSEARCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return path
