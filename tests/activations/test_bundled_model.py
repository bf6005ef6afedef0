"""The bundled model: facts its figures must hold, and the baseline they are held against."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from archsearch.activations import open_activations, split_of
from archsearch.spec.activations import BundledSource

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "archsearch" / "activations" / "bundled"
FIGURES = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
CORPUS = json.loads((FOLDER / "corpus.json").read_text(encoding="utf-8"))


def ngram():
    spec = importlib.util.spec_from_file_location("ngram", ROOT / "scripts" / "ngram.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_folder_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 6_000_000


def test_model_learnt_more_than_an_ngram_model():
    assert FIGURES["validate"]["nats_per_token"] < FIGURES["validate_5gram_nats"] < FIGURES["validate_unigram_nats"]


def test_default_hook_matters_to_the_model():
    assert FIGURES["hook"] == BundledSource().hook
    assert FIGURES["ablation_damage_nats"] >= 0.5


def test_figures_belong_to_the_pinned_corpus():
    assert FIGURES["corpus"] == CORPUS["fingerprint"]
    assert all(split_of(name) == entry["split"] for name, entry in CORPUS["documents"].items())


def test_figures_in_the_documentation_are_the_measured_ones():
    page = (ROOT / "docs" / "bundled-model.md").read_text(encoding="utf-8")
    for split in ("validate", "train"):
        assert f"{FIGURES[split]['nats_per_token']:.2f}" in page and f"{FIGURES[split]['bits_per_byte']:.2f}" in page
    for figure in ("validate_5gram_nats", "validate_unigram_nats", "ablation_damage_nats", "gap_nats"):
        assert f"{FIGURES[figure]:.2f}" in page


def test_bundled_source_from_the_front_door(tmp_path: Path):
    opened = open_activations(BundledSource(tokens=4096, eval_tokens=1024), cache=tmp_path)
    assert opened.d_model == 128 and opened.rows("train") == 4096 and opened.rows("test") == 1024
    assert opened.provenance["corpus_is_pinned"] == (opened.provenance["corpus"] == CORPUS["fingerprint"])
    result = opened.splicer().cross_entropy(lambda rows: rows)
    assert result.recovered == pytest.approx(1.0, abs=1e-3)
    assert abs(result.clean - FIGURES["validate"]["nats_per_token"]) < 0.5, "another Python's library is close, the same one closer"
    assert result.mean_ablated - result.clean >= 0.5
    variance = opened.split("train")["x"].var(0)
    assert torch.isfinite(variance).all() and (variance > 0).all()


def test_ngram_probabilities_sum_to_one():
    drawn = np.random.default_rng(0).integers(1, 7, (5, 200)).tolist()
    for order in (1, 2, 3, 5):
        model = ngram().KneserNey(drawn, 8, order)
        for history in ([1, 2, 3, 1], [7, 7, 7, 7], drawn[0][:4]):
            total = sum(np.exp(-model.nats([*history, token])[-1]) for token in range(8))
            assert total == pytest.approx(1.0, abs=1e-9)


def test_ngram_by_hand():
    # Bigrams over 1 2 1 2 1 3 and a vocabulary of 4; too few counts for estimated discounts, so every discount is one half.
    # Continuations: 1 follows {begin, 2}, 2 follows {1}, 3 follows {1}: 2, 1, 1 of 4. Unigram mass given away: 3 * 0.5 / 4.
    p3 = (1 - 0.5) / 4 + 3 * 0.5 / 4 / 4
    wanted = (1 - 0.5) / 3 + 2 * 0.5 / 3 * p3
    nats = ngram().KneserNey([[1, 2, 1, 2, 1, 3]], 4, 2).nats([1, 3])
    assert nats[1] == pytest.approx(-np.log(wanted))
