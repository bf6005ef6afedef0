"""ReLU SAEs with L1 and Lp penalties: dictionary_learning's Standard and April trainers, SAELens' standard SAE."""

from __future__ import annotations

import pytest
from dictionary_learning.dictionary import AutoEncoderNew
from dictionary_learning.trainers.standard import StandardTrainer, StandardTrainerAprilUpdate
from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig

from tests.peers import dl, sl
from tests.peers.harness import LR, document, linear, pair, same_run, same_step

pytestmark = pytest.mark.peer

WEIGHT = 0.3


def l1(**settings):
    return {"sparsity": {"kind": "l1", "weight": WEIGHT, **settings}}


@pytest.mark.parametrize("warm", [False, True])
def test_l1_unit_norm_is_dictionary_learning_standard(warm):
    """Both sum squares over d and |f| over latents, mean over rows: the same coefficient.

    `ConstrainedAdam` projects, steps, renormalises and never clips. Its two warm-ups and the decay are ours: `step / warm-up`, from zero.
    """
    settings = {"warmup_steps": 2, "sparsity_warmup_steps": 4, "decay_start": 7} if warm else {"sparsity_warmup_steps": None}
    trainer = dl.trainer(StandardTrainer, l1_penalty=WEIGHT, **settings)
    schedule = {"kind": "warmup_decay", "warmup_frac": 0.2, "decay_frac": 0.3} if warm else {"kind": "warmup_decay", "decay_frac": 0}
    spec = document("relu", l1(warmup_frac=0.4 if warm else 0), schedule=schedule)
    both = pair(spec, trainer.ae, dl.AUTOENCODER)
    if not warm:
        log = trainer.loss(both.batch(0), step=0, logging=True).losses
        terms = {"reconstruction": log["mse_loss"], "sparsity": WEIGHT * log["sparsity_loss"]}
        same_step(both, trainer.loss(both.batch(0), step=0), terms)
    same_run(both, trainer.update)


@pytest.mark.parametrize("center", [True, False])
def test_norm_weighted_l1_is_dictionary_learning_april(center):
    """The April update: `f_i |d_i|`, free norms, global clip at 1; with the pre-bias (`AutoEncoder`) and without (`AutoEncoderNew`).

    `AutoEncoderNew` returns codes already multiplied by the norms, and the trainer multiplies again: its penalty is `f_i |d_i|^2`, so
    only its reconstruction is compared.
    """
    if center:
        trainer = dl.trainer(StandardTrainerAprilUpdate, l1_penalty=WEIGHT, sparsity_warmup_steps=None)
        both = pair(document("relu", l1(norm="dictionary"), norm="free", clip_norm=1.0), trainer.ae, dl.AUTOENCODER)
        log = trainer.loss(both.batch(0), step=0, logging=True).losses
        terms = {"reconstruction": log["mse_loss"], "sparsity": WEIGHT * log["sparsity_loss"]}
        same_step(both, trainer.loss(both.batch(0), step=0), terms)
    else:
        trainer = dl.trainer(StandardTrainerAprilUpdate, l1_penalty=0.0, sparsity_warmup_steps=None, dict_class=AutoEncoderNew)
        names = linear("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias", nn_linear=True)
        both = pair(document("relu", {}, norm="free", center=False, clip_norm=1.0), trainer.ae, names)
    same_run(both, trainer.update)


@pytest.mark.parametrize("center", [True, False])
def test_norm_weighted_l1_is_saelens_standard(center):
    """`lp_norm=1`: sum over d, sum over latents of `f_i |d_i|`, mean over rows; free norms, clip at 1.

    `apply_b_dec_to_input` is our pre-bias.
    """
    sae = sl.build(StandardTrainingSAE, StandardTrainingSAEConfig, l1_coefficient=WEIGHT, apply_b_dec_to_input=center)
    both = pair(document("relu", l1(norm="dictionary"), norm="free", center=center, clip_norm=1.0), sae, sl.MATRICES)
    told = sl.forward(sae, both.batch(0), {"l1": WEIGHT})
    same_step(both, told.loss, {"reconstruction": told.losses["mse_loss"], "sparsity": told.losses["l1_loss"]})
    same_run(both, sl.updates(sae))


def test_warm_ups_and_decay_are_saelens():
    """The coefficient's warm-up starts at zero on both sides and the last steps fall alike.

    The rate's own warm-up is not compared: SAELens starts at `1 / w` and is there after w - 1 steps, we start at 0 and are there after w.
    """
    sae = sl.build(StandardTrainingSAE, StandardTrainingSAEConfig, l1_coefficient=WEIGHT, l1_warm_up_steps=4)
    schedule = {"kind": "warmup_decay", "decay_frac": 0.3}
    losses = l1(norm="dictionary", warmup_frac=0.4)
    both = pair(document("relu", losses, norm="free", clip_norm=1.0, schedule=schedule), sae, sl.MATRICES)
    same_run(both, sl.updates(sae, lr_decay_steps=3, lr_end=LR))


@pytest.mark.parametrize("p", [0.5, 2.0])
def test_outer_lp_is_saelens_lp_norm(p):
    """`lp_norm=p` is the norm of each row, with the outer power 1/p: our `power: outer`, weighted by the dictionary's norms."""
    sae = sl.build(StandardTrainingSAE, StandardTrainingSAEConfig, l1_coefficient=0.02, lp_norm=p)
    losses = {"sparsity": {"kind": "lp", "weight": 0.02, "p": p, "power": "outer", "norm": "dictionary"}}
    both = pair(document("relu", losses, norm="free", clip_norm=1.0), sae, sl.MATRICES)
    told = sl.forward(sae, both.batch(0), {"l1": 0.02})
    same_step(both, told.loss, {"reconstruction": told.losses["mse_loss"], "sparsity": told.losses["l1_loss"]})
    same_run(both, sl.updates(sae))
