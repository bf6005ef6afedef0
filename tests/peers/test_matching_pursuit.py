"""Matching pursuit SAEs: SAELens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sae_lens.saes.matching_pursuit_sae import MatchingPursuitTrainingSAE, MatchingPursuitTrainingSAEConfig
from torch import Tensor

from archsearch.training.looped import Looped
from archsearch.training.stacked import Stacked
from tests.peers import sl
from tests.peers.harness import LR, Pair, document, pair, same, same_run

pytestmark = pytest.mark.peer

K = 5
NAMES = {"decoder.dictionary": ("W_dec", False), "decoder.bias": ("b_dec", False)}


def saelens(k: int = K, **settings: Any) -> tuple[Any, Pair]:
    """SAELens with neither of its stops, which are others than ours: a number of turns, and nothing else, ends a row."""
    theirs = {"residual_threshold": 0.0, "stop_on_duplicate_support": False, "decoder_init_norm": 1.0, "apply_b_dec_to_input": True}
    sae = sl.build(MatchingPursuitTrainingSAE, MatchingPursuitTrainingSAEConfig, max_iterations=k, **theirs | settings)
    spec = document({"kind": "matching_pursuit", "k": k, "tolerance": 0.0}, {})
    spec["graph"]["encoder"] = {"kind": "tied_encoder", "bias": False}
    return sae, pair(spec, sae, NAMES)


def across(gradient: Tensor, rows: Tensor) -> Tensor:
    """Returns the part of a gradient that leaves the norms of rows as they are."""
    return gradient - (gradient * rows).sum(-1, keepdim=True) * rows


@pytest.mark.parametrize("k", [1, 2, K, 20])
def test_codes_loss_and_gradients_are_saelens(k: int):
    """At unit norm. Along the rows gradients differ: we divide values by the squared norm, it takes it for 1; that part never acts here."""
    sae, both = saelens(k)
    batch = both.batch(0)
    told = sl.forward(sae, batch)
    total, _, _ = both.member.sae({"x": batch}, torch.zeros((), dtype=torch.float64))
    same(both.member.sae.encode({"x": batch}), told.feature_acts, "codes")
    assert (told.feature_acts > 0).sum(-1).max() > min(k, 3) - 1
    same(total, told.loss, "loss")
    ours = dict(zip(both.ours(), torch.autograd.grad(total, [*both.ours().values()])))
    theirs = dict(zip(both.theirs(), torch.autograd.grad(told.loss, [*both.theirs().values()])))
    rows = sae.W_dec.detach()
    same(across(ours["decoder.dictionary"], rows), across(theirs["W_dec"], rows), "gradient of the dictionary across its rows")
    same(ours["decoder.bias"], theirs["b_dec"], "gradient of the bias")
    assert across(theirs["W_dec"], rows).abs().max() > 0.01


@pytest.mark.parametrize("executor", [Looped, Stacked])
def test_a_run_is_saelens_kept_at_unit_norm(executor: Any):
    """It asks for unit rows and lets them go in training; here its rows are kept as ours are, projected and renormalised."""
    sae, both = saelens()
    optimizer = torch.optim.Adam(sae.parameters(), lr=LR)

    def update(step: int, batch: Tensor) -> None:
        optimizer.zero_grad()
        sl.forward(sae, batch).loss.backward()
        with torch.no_grad():
            sae.W_dec.grad = across(sae.W_dec.grad, sae.W_dec)
            optimizer.step()
            sae.W_dec /= sae.W_dec.norm(dim=-1, keepdim=True)

    same_run(both, update, executor=executor)


def test_a_row_of_its_that_stops_at_a_latent_chosen_twice_is_ours_up_to_there():
    """`stop_on_duplicate_support` ends a row after the first turn that chooses nothing new; it has no counterpart here."""
    sae, both = saelens(k=20, stop_on_duplicate_support=True)
    theirs = sl.forward(sae, both.batch(0)).feature_acts
    ours = both.member.sae.encode({"x": both.batch(0)})
    stopped = (theirs != ours).any(-1)
    assert stopped.any() and ((theirs > 0) <= (ours > 0)).all()
