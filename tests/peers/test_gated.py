"""Gated SAEs: dictionary_learning's trainer (the paper's frozen decoder) and SAELens' (nothing frozen)."""

from __future__ import annotations

import pytest
from dictionary_learning.trainers.gated_anneal import GatedAnnealTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from sae_lens.saes.gated_sae import GatedTrainingSAE, GatedTrainingSAEConfig

from tests.peers import dl, sl
from tests.peers.harness import LR, document, linear, pair, same_run, same_step

pytestmark = pytest.mark.peer

WEIGHT = 0.3
ADAM = {"kind": "adam", "lr": LR, "beta1": 0.0}
GATE = {"gate.r_mag": ("r_mag", False), "gate.b_gate": ("gate_bias", False), "gate.b_mag": ("mag_bias", False)}
DL = linear("encoder.weight", "", "decoder.weight", "decoder_bias", nn_linear=True) | GATE
SL = linear("W_enc", "", "W_dec", "b_dec", nn_linear=False) | {f"gate.{name}": (name, False) for name in ("r_mag", "b_gate", "b_mag")}


def test_frozen_decoder_is_dictionary_learning():
    """The paper's loss: plain L1 of `relu(pi)`, auxiliary task through a detached decoder and bias, unit norm, Adam with beta1 = 0.

    All three terms sum over d or latents and take the mean over rows: the same coefficients.
    """
    trainer = dl.trainer(GatedSAETrainer, l1_penalty=WEIGHT, sparsity_warmup_steps=None)
    losses = {"sparsity": {"kind": "l1", "of": "gate.gate_code", "weight": WEIGHT}}
    both = pair(document({"kind": "gated", "training": "frozen_decoder"}, losses, bias=False, optimizer=ADAM), trainer.ae, DL)
    log = trainer.loss(both.batch(0), step=0, logging=True).losses
    terms = {"reconstruction": log["mse_loss"], "sparsity": WEIGHT * log["sparsity_loss"], "gate.auxiliary": log["aux_loss"]}
    same_step(both, trainer.loss(both.batch(0), step=0), terms)
    same_run(both, trainer.update)


@pytest.mark.parametrize("center", [True, False])
def test_unfrozen_decoder_is_saelens(center):
    """RI-L1: L1 of `relu(pi_i) |d_i|` and the auxiliary task both reach the dictionary; free norms, clip at 1."""
    sae = sl.build(GatedTrainingSAE, GatedTrainingSAEConfig, l1_coefficient=WEIGHT, apply_b_dec_to_input=center)
    losses = {"sparsity": {"kind": "l1", "of": "gate.gate_code", "norm": "dictionary", "weight": WEIGHT}}
    gate = {"kind": "gated", "training": "unfrozen_decoder"}
    both = pair(document(gate, losses, bias=False, norm="free", center=center, clip_norm=1.0), sae, SL)
    told = sl.forward(sae, both.batch(0), {"l1": WEIGHT})
    terms = {
        "reconstruction": told.losses["mse_loss"],
        "sparsity": told.losses["l1_loss"],
        "gate.auxiliary": told.losses["auxiliary_reconstruction_loss"],
    }
    same_step(both, told.loss, terms)
    same_run(both, sl.updates(sae))


def test_annealed_gate_is_dictionary_learning_gated_anneal():
    """The Lp^p penalty of falling exponent on `relu(pi)`; see test_p_annealing.py for its points and its coefficient."""
    settings = {"anneal_start": 2, "anneal_end": 8, "n_sparsity_updates": 4, "p_end": 0.4, "sparsity_queue_length": 2}
    trainer = dl.trainer(GatedAnnealTrainer, initial_sparsity_penalty=0.1, sparsity_warmup_steps=None, **settings)
    penalty = {"kind": "lp_annealed", "start_frac": 0.2, "end_frac": 0.8, "updates": 4, "p_end": 0.4, "memory": 2}
    losses = {"sparsity": {**penalty, "of": "gate.gate_code", "weight": 0.1}}
    both = pair(document({"kind": "gated", "training": "frozen_decoder"}, losses, bias=False, optimizer=ADAM), trainer.ae, DL)
    log = trainer.loss(both.batch(0), step=0, logging=True).losses
    terms = {"reconstruction": log["mse_loss"], "sparsity": log["sparsity_loss"], "gate.auxiliary": log["aux_loss"]}
    same_step(both, trainer.loss(both.batch(0), step=0), terms)

    def update(step, batch):
        with dl.in_double():
            trainer.update(step, batch)

    same_run(both, update)
    assert trainer.p == pytest.approx(0.4)
