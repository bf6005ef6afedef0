"""What is computed from data: the scaling of inputs, the start of the decoder's bias, metrics."""

from __future__ import annotations

import warnings

import pytest
import torch
from dictionary_learning.dictionary import AutoEncoder
from dictionary_learning.evaluation import evaluate as dl_evaluate
from dictionary_learning.trainers.top_k import geometric_median as dl_geometric_median
from dictionary_learning.training import get_norm_factor
from sae_lens.evals import ExplainedVarianceCalculator

from archsearch.assembler.parse import parse
from archsearch.blocks.inits._transposing import geometric_median
from archsearch.evaluation.metrics import evaluate
from archsearch.training.member import start
from tests.peers import dl
from tests.peers.harness import BATCH, MODEL, WIDTH, document, pair, rows, same

pytestmark = pytest.mark.peer


def test_scaling_is_dictionary_learning_norm_factor():
    """It divides by `sqrt(E|x|^2)`, for a mean squared norm of 1; ours is d, so our factor is sqrt(d) times the inverse of its."""
    spec = document("relu", {}) | {"scale": "scaling"}
    member = start(parse(spec), {"x": rows()}, {"x": rows()}, precision="float64")
    theirs = get_norm_factor(iter(rows().split(BATCH)), steps=100)
    # Scales are fitted on float32 rows.
    same(member.sae.scaling("x").factor, MODEL**0.5 / theirs, "factor", rtol=1e-6)


def test_geometric_median_is_dictionary_learning():
    """The same iteration; it stops once the guess moves by less than 1e-5, ours by less than 1e-6 of its norm."""
    with dl.in_double():
        theirs = dl_geometric_median(rows())
    same(geometric_median(rows()), theirs, "geometric median", rtol=0, atol=3e-5)
    assert (geometric_median(rows()) - rows().mean(0)).norm() > 0.01


def test_metrics_are_those_of_both():
    """FVU is one minus SAELens' explained variance; L0, cosine, `gamma` and dead latents are dictionary_learning's on one batch.

    dictionary_learning's own explained variance takes the error about its mean and is not ours; a latent is alive there if its codes add
    up to more than nothing, here if one is not zero.
    """
    ae = AutoEncoder(MODEL, WIDTH).double()
    bias = torch.linspace(-4.0, 1.0, WIDTH, dtype=torch.float64)  # some latents never fire
    both = pair(document("relu", {}, norm="free"), ae, dl.AUTOENCODER, encoder__bias=bias)
    data = rows(seed=8)
    ours = evaluate(both.member.sae, {"x": data}, batch=50)
    explained = ExplainedVarianceCalculator()
    for part in data.split(30):
        explained.add_batch(ae(part).detach(), part)
    same(1 - ours.fvu, explained.compute(), "explained variance")
    with dl.in_double(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = dl_evaluate(ae, iter([data]))
    same(ours.l0, theirs["l0"], "L0")
    same(ours.cosine, theirs["cossim"], "cosine")
    same(ours.gamma, theirs["relative_reconstruction_bias"], "gamma")
    same(1 - ours.dead_frac, theirs["frac_alive"], "alive", rtol=1e-6)
    assert 0 < ours.dead_frac < 1
