"""JumpReLU SAEs: SAELens' steps on pre-activations, dictionary_learning's on magnitudes."""

from __future__ import annotations

import pytest
import torch
from dictionary_learning.dictionary import JumpReluAutoEncoder
from dictionary_learning.trainers.jumprelu import JumpReLUFunction, JumpReluTrainer, StepFunction
from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig

from tests.peers import dl, sl
from tests.peers.harness import BATCH, LR, MODEL, STEPS, WIDTH, document, pair, same_run, same_step

pytestmark = pytest.mark.peer

WEIGHT, BANDWIDTH = 0.25, 0.5  # powers of two: dictionary_learning rounds both to float32
NAMES = {"gate.theta": ("threshold", False)}
THETA = torch.linspace(0.5, 0.9, WIDTH, dtype=torch.float64)  # above half a bandwidth


def jumprelu(**settings):
    return {"kind": "jumprelu", "threshold": 0.5, "bandwidth": BANDWIDTH, **settings}


def saelens(theta=THETA, losses=None, gate=None, weight=WEIGHT, **settings):
    """Returns a SAELens SAE beside ours; free norms, clip at 1."""
    sae = sl.build(JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, jumprelu_bandwidth=BANDWIDTH, l0_coefficient=weight, **settings)
    spec = document(gate or jumprelu(), losses or {"sparsity": {"kind": "l0", "weight": weight}}, norm="free", clip_norm=1.0)
    return sae, pair(spec, sae, sl.MATRICES | NAMES, gate__theta=theta)


@pytest.mark.parametrize("to_input", [False, True])
def test_l0_on_pre_activations_is_saelens_step(to_input):
    """Mode `step`: a rectangle around the pre-activation, sum over latents, mean over rows; `jumprelu_ste_to_input` is our `to_input`."""
    sae, both = saelens(gate=jumprelu(to_input=to_input), jumprelu_ste_to_input=to_input)
    told = sl.forward(sae, both.batch(0), {"l0": WEIGHT})
    same_step(both, told.loss, {"reconstruction": told.losses["mse_loss"], "sparsity": told.losses["l0_loss"]})
    same_run(both, sl.updates(sae))


def test_thresholds_are_kept_above_zero_as_in_saelens():
    """Ours are set back to zero after a step, SAELens' before the next forward pass: the same forward passes."""
    low = torch.where(torch.arange(WIDTH) % 3 == 0, 0.003, THETA)
    sae, both = saelens(theta=low, weight=1e-5)  # a weak penalty: it only ever raises thresholds
    update = sl.updates(sae)
    crossed = []

    def clamped(step, batch):
        update(step, batch)
        crossed.append(bool((sae.threshold < 0).any()))
        sae.threshold.data.clamp_(min=0)

    same_run(both, clamped)
    assert any(crossed), "no threshold fell below zero"


def test_l0_on_magnitudes_is_dictionary_learning():
    """Its L0 term steps on what was gated (`f`, the upper half of the kernel), its gate on the pre-activation; no pre-bias.

    For thresholds above half a bandwidth our `kernel_on: magnitude` is the same. The trainer's own (quadratic) penalty is tested below.
    """
    ae = JumpReluAutoEncoder(MODEL, WIDTH).double()
    spec = document(jumprelu(kernel_on="magnitude"), {"sparsity": {"kind": "l0", "weight": WEIGHT}}, center=False)
    both = pair(spec, ae, dl.MATRICES | NAMES, gate__theta=THETA)
    with dl.in_double():
        f = JumpReLUFunction.apply(both.batch(0) @ ae.W_enc + ae.b_enc, ae.threshold, BANDWIDTH)
        reconstruction = (both.batch(0) - ae.decode(f)).pow(2).sum(-1).mean()
        sparsity = WEIGHT * StepFunction.apply(f, ae.threshold, BANDWIDTH).sum(-1).mean()
        same_step(both, reconstruction + sparsity, {"reconstruction": reconstruction, "sparsity": sparsity})


@pytest.mark.parametrize("eps", ["theirs", "ours"])
def test_quadratic_l0_per_batch_is_dictionary_learning(eps, monkeypatch):
    """`(mean_b L0_b / T - 1)^2`. Project, clip at 1, Adam with beta1 = 0, renormalise; no pre-bias, thresholds never clamped.

    Its projection divides by `|d| + 1e-6`: with that number in ours too all agrees to 1e-9, without it to 1e-5.
    """
    if eps == "theirs":
        dl.project_alike(monkeypatch)
    trainer = dl.trainer(JumpReluTrainer, bandwidth=BANDWIDTH, sparsity_penalty=4.0, target_l0=2.0, sparsity_warmup_steps=None)
    losses = {"sparsity": {"kind": "l0_quadratic", "per": "batch", "target": 2.0, "weight": 4.0}}
    adam = {"kind": "adam", "lr": LR, "beta1": 0.0}
    spec = document(jumprelu(kernel_on="magnitude"), losses, center=False, clip_norm=1.0, optimizer=adam)
    both = pair(spec, trainer.ae, dl.MATRICES | NAMES, gate__theta=THETA)
    with dl.in_double():
        log = trainer.loss(both.batch(0), step=0, logging=True).losses
        terms = {"reconstruction": log["l2_loss"], "sparsity": log["loss"] - log["l2_loss"]}
        same_step(both, trainer.loss(both.batch(0), step=0), terms)

    def update(step, batch):
        with dl.in_double():
            trainer.update(step, batch)

    same_run(both, update, **({} if eps == "theirs" else {"rtol": 1e-5, "atol": 1e-6}))
    assert bool((trainer.ae.threshold > BANDWIDTH / 2).all()), "below half a bandwidth the two jumps differ"


@pytest.mark.parametrize("to_input", [False, True])
def test_quadratic_l0_per_row_is_saelens_quadratic(to_input):
    """Mode `quadratic`: `mean_b (2 / T) (L0_b - T)^2`."""
    losses = {"sparsity": {"kind": "l0_quadratic", "per": "row", "target": 3.0, "weight": WEIGHT}}
    settings = {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": 3.0, "jumprelu_ste_to_input": to_input}
    sae, both = saelens(losses=losses, gate=jumprelu(to_input=to_input), **settings)
    told = sl.forward(sae, both.batch(0), {"l0": WEIGHT})
    same_step(both, told.loss, {"reconstruction": told.losses["mse_loss"], "sparsity": told.losses["l0_loss"]})
    same_run(both, sl.updates(sae))


@pytest.mark.parametrize("to_input", [False, True])
def test_tanh_penalty_is_saelens_tanh(to_input):
    """Mode `tanh`: `mean_b sum_i tanh(c f_i |d_i|)`; at f = 0 too its slope reaches the threshold, from rows just below it."""
    losses = {"sparsity": {"kind": "tanh_penalty", "c": 4.0, "norm": "dictionary", "weight": WEIGHT}}
    settings = {"jumprelu_sparsity_loss_mode": "tanh", "jumprelu_tanh_scale": 4.0, "jumprelu_ste_to_input": to_input}
    sae, both = saelens(losses=losses, gate=jumprelu(to_input=to_input), **settings)
    told = sl.forward(sae, both.batch(0), {"l0": WEIGHT})
    same_step(both, told.loss, {"reconstruction": told.losses["mse_loss"], "sparsity": told.losses["l0_loss"]})
    same_run(both, sl.updates(sae))


def test_pre_act_is_saelens_on_dead_latents():
    """`relu(theta_i - h_i) |d_i|` over dead latents, with gradients to all three: our `latents: dead`. The paper's `all` it does not have.

    Latents are dead after more than one step (`dead_feature_window=1`), counted before this one: ours after 1.5 steps.
    """
    losses = {
        "sparsity": {"kind": "l0", "weight": WEIGHT},
        "dead": {"kind": "pre_act", "latents": "dead", "dead_after_frac": sl.dead_after(1), "weight": 0.02},
    }
    high = torch.where(torch.arange(WIDTH) % 4 == 0, 20.0, THETA)  # every fourth latent never fires
    sae, both = saelens(high, losses, pre_act_loss_coefficient=0.02)
    dead = [2, 4, 8, 12]
    idle = both.member.sae.idle_of(both.member.sae.graph.dictionaries[0].name)
    idle[dead] = float(BATCH * STEPS)
    told = sl.forward(sae, both.batch(0), {"l0": WEIGHT}, dead=sl.mask(*dead))
    names = {"reconstruction": "mse_loss", "sparsity": "l0_loss", "dead": "pre_act_loss"}
    same_step(both, told.loss, {ours: told.losses[theirs] for ours, theirs in names.items()})
    idle.zero_()
    update, seen = sl.updates(sae, dead_feature_window=1), []
    same_run(both, lambda step, batch: seen.append(update(step, batch).losses["pre_act_loss"].item()))
    assert seen[0] == 0 and seen[-1] > 0, "nothing died"
