"""TopK, BatchTopK and Matryoshka SAEs with their auxiliary losses on dead latents: SAELens and dictionary_learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from sae_lens.saes.abstopk_sae import AbsTopKTrainingSAE, AbsTopKTrainingSAEConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig

from archsearch.training.looped import Looped
from archsearch.training.stacked import Stacked
from tests.peers import dl, sl
from tests.peers.harness import BATCH, MODEL, STEPS, WIDTH, Pair, document, pair, same, same_run, same_step

pytestmark = pytest.mark.peer

K, ALPHA = 6, 0.3
QUIET = (1, 4, 9, 13, 20)  # latents too weak to be chosen, but often positive: they die, and the auxiliary loss has something to move
SLOW = {"kind": "adam", "lr": 0.002}
PREFIXES, WIDTHS = [0.125, 0.5], [3, 12, 24]
LEVELS = {"kind": "matryoshka", "prefixes": PREFIXES}


def weak() -> dict[str, torch.Tensor]:
    """Returns an encoder whose quiet latents lose every contest."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(WIDTH, MODEL, generator=generator, dtype=torch.float64)
    weight /= weight.norm(dim=-1, keepdim=True)
    weight[list(QUIET)] *= 0.1
    bias = torch.full((WIDTH,), 1.0, dtype=torch.float64)
    bias[list(QUIET)] = 0.0
    return {"encoder__weight": weight, "encoder__bias": bias}


def kill(both: Pair) -> None:
    """Calls the quiet latents dead, as if the whole run had passed without them."""
    both.member.sae.idle_of(both.member.sae.graph.dictionaries[0].name)[list(QUIET)] = float(BATCH * STEPS)


# SAELens: raw pre-activations of dead latents, squared error by the share of dead latents, dead by steps before this one.

RAW = {"kind": "aux_k", "weight": ALPHA, "candidates": "raw", "scale": "dead_share", "dead_after_frac": sl.dead_after(1)}
SL = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig, {}),
    "abs_topk": (AbsTopKTrainingSAE, AbsTopKTrainingSAEConfig, {}),
    "batch_topk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {"topk_threshold_lr": 1.0}),
    "matryoshka": (
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
        {"matryoshka_widths": WIDTHS, "topk_threshold_lr": 1.0},
    ),
}
GATES: dict[str, Any] = {
    "topk": {"kind": "topk", "k": K},
    "abs_topk": {"kind": "abs_topk", "k": K},
    "batch_topk": {"kind": "batch_topk", "k": K, "memory": 1},
    "matryoshka": {"kind": "batch_topk", "k": K, "memory": 1},
}


def saelens(form: str, *, rescale: bool = False, norm: str = "free") -> tuple[Any, Pair]:
    cls, config, settings = SL[form]
    sae = sl.build(cls, config, k=K, aux_loss_coefficient=ALPHA, rescale_acts_by_decoder_norm=rescale, **settings)
    level = LEVELS if form == "matryoshka" else None
    dead = RAW | ({"candidates": "magnitude"} if form == "abs_topk" else {})
    spec = document(GATES[form], {"dead": dead}, norm=norm, level=level, clip_norm=1.0, optimizer=SLOW)
    return sae, pair(spec, sae, sl.MATRICES, **weak())


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("form", SL)
def test_a_step_is_saelens(form, rescale):
    """AbsTopK ranks by size, dead latents too, and keeps signs. Levels: SAELens adds the errors of all, as we do by default; its auxiliary
    loss reads the outermost error.

    `rescale_acts_by_decoder_norm` ranks and codes by `h_i |d_i|` and divides again: the same at unit norm, where it is compared.
    """
    sae, both = saelens(form, rescale=rescale, norm="unit" if rescale else "free")
    kill(both)
    told = sl.forward(sae, both.batch(0), dead=sl.mask(*QUIET))
    error = sum(value for name, value in told.losses.items() if "mse_loss" in name)
    assert told.losses["auxiliary_reconstruction_loss"] > 0
    same_step(both, told.loss, {"reconstruction": error, "dead": told.losses["auxiliary_reconstruction_loss"]})


@pytest.mark.parametrize("executor", [Looped, Stacked])
@pytest.mark.parametrize("form", SL)
def test_a_run_is_saelens(form, executor):
    """By both of our executors. Free norms, clip at 1; latents die on the way.

    `dead_feature_window=1` is our `dead_after_frac` of 1.5 steps.
    """
    sae, both = saelens(form)
    update = sl.updates(sae, lr=SLOW["lr"], dead_feature_window=1)
    seen = []

    def watched(step, batch):
        seen.append(update(step, batch).losses["auxiliary_reconstruction_loss"].item())

    by_row = "topk_threshold" not in dict(sae.named_buffers())  # its training class chooses by batch at inference too
    same_run(both, watched, infer=by_row, executor=executor)
    assert seen[0] == 0 and seen[-1] > 0, "nothing died"
    if not by_row:
        same(both.member.sae.block("gate").threshold, sae.topk_threshold, "threshold")


# dictionary_learning: clipped pre-activations, share of the error's variance, dead by tokens including this batch.

FVU = {"kind": "aux_k", "weight": ALPHA / MODEL, "candidates": "relu", "scale": "fvu", "dead_after_frac": 3.5 / STEPS}
DL = {
    "topk": (TopKTrainer, dl.TOPK, {}),
    "batch_topk": (BatchTopKTrainer, dl.TOPK, {}),
    "matryoshka": (MatryoshkaBatchTopKTrainer, dl.MATRICES, {"group_fractions": [0.125, 0.375, 0.5]}),
}


def learning(form: str, weights: str = "even", **training: Any) -> tuple[Any, Pair]:
    cls, names, settings = DL[form]
    losses: dict[str, Any] = {"dead": FVU}
    gate = GATES[form] | ({"memory": 2} if form != "topk" else {})
    if form == "matryoshka":
        settings = settings | ({"group_weights": [1.0, 1.0, 1.0]} if weights == "ones" else {})
        losses["reconstruction"] = {"kind": "squared_error", "levels": "mean", "weight": 1.0 if weights == "ones" else 1 / 3}
    trainer = dl.trainer(cls, k=K, auxk_alpha=ALPHA, lr=SLOW["lr"], threshold_start_step=0, threshold_beta=0.5, **settings)
    trainer.dead_feature_threshold = 5 * BATCH  # of tokens, this batch among them: four steps before this one
    spec = document(gate, losses, level=LEVELS if form == "matryoshka" else None, clip_norm=1.0, optimizer=SLOW, **training)
    return trainer, pair(spec, trainer.ae, names, **weak())


@pytest.mark.parametrize(("form", "weights"), [("topk", ""), ("batch_topk", ""), ("matryoshka", "even"), ("matryoshka", "ones")])
def test_a_step_is_dictionary_learning(form, weights):
    """Its auxiliary loss leaves out the factor d of ours (`weight / d`), and is computed in float32, which is read as float64 here.

    Levels: the mean over levels of `w_l * error_l`, with `w_l = 1 / levels` by default, so that the mean is taken twice.
    """
    trainer, both = learning(form, weights)
    kill(both)
    trainer.num_tokens_since_fired[list(QUIET)] = 10 * BATCH
    with dl.in_double():
        log = trainer.loss(both.batch(0), step=dl.STEADY, logging=True)
        loss = trainer.loss(both.batch(0), step=dl.STEADY)
    assert not log.f[:, list(QUIET)].any() and log.losses["auxk_loss"] > 0
    same_step(both, loss, {"reconstruction": log.losses["l2_loss"], "dead": ALPHA * log.losses["auxk_loss"]})


@pytest.mark.parametrize("eps", ["theirs", "ours"])
@pytest.mark.parametrize("form", DL)
def test_a_run_is_dictionary_learning(form, eps, monkeypatch):
    """Project, clip at 1, Adam, renormalise. Its projection divides by `|d| + 1e-6`: with that number in ours too all agrees to 1e-9,
    without it to 1e-5.

    Dead latents: it counts this batch's firing before it calls a latent dead, we count after the step; they agree as long as no dead
    latent fires, which is checked. Threshold: its running mean starts at the first batch; `threshold_beta=0.5` is our `memory: 2`. It is
    kept in float32. Steps are counted from 1: at step 0 its trainers move the bias to the data's median, an initialisation of ours.
    """
    if eps == "theirs":
        dl.project_alike(monkeypatch)
    trainer, both = learning(form)
    auxiliary = []

    def update(step, batch):
        dead = trainer.num_tokens_since_fired >= 4 * BATCH
        with dl.in_double(), torch.no_grad():
            code = trainer.ae.encode(batch, use_threshold=False)
        assert not (code != 0).any(0)[dead].any(), "a dead latent fired"
        with dl.in_double():
            trainer.update(step + 1, batch)
        auxiliary.append(trainer.dead_features)

    same_run(both, update, infer=form == "topk", **({} if eps == "theirs" else {"rtol": 1e-5, "atol": 1e-6}))
    assert auxiliary[0] == 0 and auxiliary[-1] > 0, "nothing died"
    if form != "topk":
        same(both.member.sae.block("gate").threshold, trainer.ae.threshold, "threshold", rtol=1e-6)


@pytest.mark.parametrize("peer", ["saelens", "dictionary_learning"])
def test_codes_at_inference_are_those_above_the_threshold(peer):
    """Both keep what exceeds the threshold; so do we, and what equals it too (the smallest kept value is kept)."""
    if peer == "saelens":
        sae, both = saelens("batch_topk")
        same_run(both, sl.updates(sae, lr=SLOW["lr"], dead_feature_window=1), infer=False)
        pre = (both.batch(3) - sae.b_dec) @ sae.W_enc + sae.b_enc
        code = pre * (pre > sae.topk_threshold)  # it is exported as a JumpReLU SAE
    else:
        trainer, both = learning("batch_topk")
        for step in range(STEPS):
            with dl.in_double():
                trainer.update(step + 1, both.batch(step))
        gate = both.member.sae.block("gate")
        for name, value in both.ours().items():
            value.data.copy_(both.read(both.theirs(), name))
        gate.threshold.copy_(trainer.ae.threshold)
        code = trainer.ae.encode(both.batch(3))
    ours = both.member.sae.encode({"x": both.batch(3)})
    assert 0 < float((ours != 0).double().mean()) < 0.6
    same(ours, code, "codes", atol=1e-9)
