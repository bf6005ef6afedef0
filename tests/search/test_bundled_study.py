"""The main job at its smallest: the bundled model's real activations, spliced back into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsearch.assembler.build import load_sae
from archsearch.evaluation.metrics import evaluate
from archsearch.search.records import front
from archsearch.search.study import Options, run_study

SPACE = """
name: real
activations: {source: bundled, tokens: 12000, eval_tokens: 2048}
sae:
  width: 256
  graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: {int: [4, 64], log: true}}, decoder: linear_decoder}
  training: {tokens: 25600, batch: 256, optimizer: {kind: adam, lr: 0.004}}
study: {trials: 2, sweep: 2, band: [4, 64]}
"""


def test_the_best_are_spliced_and_their_weights_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archsearch.activations import open_activations
    from archsearch.spec.activations import BundledSource

    monkeypatch.setenv("ARCHSEARCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "real.yaml"
    path.write_text(SPACE)
    record = run_study(path, Options(out=tmp_path / "out", precision="float32", device="cpu"))
    best = front(record.trials, record.band)
    assert best
    sparsest, densest = best[0], best[-1]
    assert 0.2 < sparsest.measurements["ce_recovered"] <= densest.measurements["ce_recovered"] < 1.0
    activations = open_activations(BundledSource(tokens=12000, eval_tokens=2048))
    sae = load_sae(densest.spec, tmp_path / "out" / "saes" / f"{densest.number}.safetensors", activations.d_model)
    again = evaluate(sae, activations.split("validate"))
    assert again.fvu == pytest.approx(densest.measurements["fvu"], rel=1e-5)
    spliced = activations.splicer("validate").cross_entropy(sae.reconstruct)
    assert spliced.recovered == pytest.approx(densest.measurements["ce_recovered"], abs=1e-3)
