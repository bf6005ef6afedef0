"""Lp penalties, annealed and not: dictionary_learning's PAnnealTrainer."""

from __future__ import annotations

import pytest
from dictionary_learning.trainers.p_anneal import PAnnealTrainer

from tests.peers import dl
from tests.peers.harness import document, pair, same, same_run, same_step

pytestmark = pytest.mark.peer

WEIGHT, P_END = 0.1, 0.4


@pytest.mark.parametrize(("form", "power"), [("Lp^p", "inner"), ("Lp", "outer")])
@pytest.mark.parametrize("end", [7, None])
def test_lp_annealed_is_dictionary_learning(form, power, end):
    """Four points from step 1 to `anneal_end` (7, or the end of the run), as many exponents from 1 to `p_end`; `ConstrainedAdam`, no clip.

    The points fall on whole steps here: between two, it takes the step before and we the one after. Its coefficient after the last change
    is our weight times `alpha`. It keeps exponents and balances in float32, read as float64 here.
    """
    settings = {"anneal_start": 1, "anneal_end": end, "n_sparsity_updates": 4, "p_end": P_END, "sparsity_queue_length": 2}
    trainer = dl.trainer(PAnnealTrainer, sparsity_function=form, initial_sparsity_penalty=WEIGHT, sparsity_warmup_steps=None, **settings)
    points = {"start_frac": 0.1, "end_frac": (end or 10) / 10, "updates": 4, "p_end": P_END, "memory": 2}
    both = pair(
        document("relu", {"sparsity": {"kind": "lp_annealed", "power": power, "weight": WEIGHT, **points}}), trainer.ae, dl.AUTOENCODER
    )
    loss = trainer.loss(both.batch(0), step=0)
    same_step(both, loss, {"reconstruction": loss - trainer.scaled_lp_loss, "sparsity": trainer.scaled_lp_loss})
    exponents = []

    def update(step, batch):
        with dl.in_double():
            trainer.update(step, batch)
        exponents.append(trainer.p)

    same_run(both, update)
    assert len(set(exponents)) == (4 if end else 3), exponents
    same(WEIGHT * both.member.sae.block("losses/sparsity").alpha, trainer.sparsity_coeff, "coefficient")


@pytest.mark.parametrize(("form", "power"), [("Lp^p", "inner"), ("Lp", "outer")])
def test_lp_is_dictionary_learning_without_annealing(form, power):
    """`p_start = p_end`: every change leaves exponent and coefficient alone. Plain codes, unit norm."""
    settings = {"anneal_start": 1, "n_sparsity_updates": 4, "p_start": 0.5, "p_end": 0.5, "sparsity_warmup_steps": None}
    trainer = dl.trainer(PAnnealTrainer, sparsity_function=form, initial_sparsity_penalty=0.01, **settings)
    losses = {"sparsity": {"kind": "lp", "p": 0.5, "power": power, "weight": 0.01}}
    both = pair(document("relu", losses), trainer.ae, dl.AUTOENCODER)
    loss = trainer.loss(both.batch(0), step=0)
    same_step(both, loss, {"reconstruction": loss - trainer.scaled_lp_loss, "sparsity": trainer.scaled_lp_loss})

    def update(step, batch):
        with dl.in_double():
            trainer.update(step, batch)

    same_run(both, update)
