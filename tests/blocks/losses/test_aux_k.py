from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.losses.aux_k import AuxK
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def reference(settings, ports, tensors):
    pre, idle = ports["pre"], ports["idle"]
    guess = ports["reconstruction"]
    error = ports["target"] - (guess[-1] if guess.ndim == 3 else guess)
    count, model = settings["k_aux"] or error.shape[1] // 2, error.shape[1]
    dead = [i for i in range(pre.shape[1]) if idle[i] >= settings["dead_after_frac"]]
    if not dead:
        return {"loss": 0.0}
    missed = 0.0
    for row, values in enumerate(pre):
        scores = {i: max(values[i], 0.0) if settings["candidates"] == "relu" else values[i] for i in dead}
        among = torch.tensor([scores.get(i, -np.inf) for i in range(len(values))])
        # Which of several equal values is chosen is the library's choice: the reference takes it.
        chosen = [i for i in among.topk(min(count, len(values))).indices.tolist() if i in scores]
        assert sorted(scores[i] for i in chosen) == sorted(scores.values())[-len(chosen) :]
        rebuilt = sum(scores[i] * ports["dictionary"][i] for i in chosen)
        missed += sum((error[row] - rebuilt) ** 2) / len(pre)
    if settings["scale"] == "dead_share":
        return {"loss": missed * min(len(dead) / count, 1)}
    return {"loss": model * missed / np.mean(((error - error.mean(0)) ** 2).sum(-1))}


def _sae(spec):
    document = base()
    document["graph"]["gate"] = {"kind": "topk", "k": 1}
    document["losses"] = {"term": spec}
    return document


EXAMPLE = Example(
    settings={"dead_after_frac": 0.16},
    cases=(
        Case(),
        Case({"candidates": "raw", "scale": "dead_share", "k_aux": 7}),
        Case({"k_aux": 1}, levels=LEVELS),
        Case({"scale": "dead_share"}),
        Case({"dead_after_frac": 0.5}),  # latents idle for just as long are dead
        Case({"dead_after_frac": 0.9}),
    ),
    fields={
        "weight": Two(0.1, 2.0),
        "k_aux": Two(1, 3),
        "dead_after_frac": Two(0.1, 0.4),
        "candidates": Two("relu", "raw"),
        "scale": Two("fvu", "dead_share"),
    },
    reference=reference,
    constants=("target", "reconstruction"),
    sae=_sae,
)


def _loss(**settings) -> AuxK:
    space = (Info(Signal.ACTIVATION, 2),)
    sizes = Sizes(2, 3, {"reconstruction": space, "target": space})
    return AuxK(AuxK.Spec(dead_after_frac=0.1, **settings), sizes)


DICTIONARY = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])


def test_only_dead_latents_rebuild_the_error():
    # Error (0, 2); latent 1 is dead with pre-activation 2, latent 0 is alive though larger: nothing is missed. k_aux = 2 // 2 = 1.
    loss = _loss(scale="dead_share")
    pre, idle = torch.tensor([[9.0, 2.0, 1.0]]), torch.tensor([0.0, 0.25, 0.25])
    target, guess = torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]])
    assert loss(pre, DICTIONARY, idle, target, guess)["loss"] == 0.0


@pytest.mark.parametrize("scale", ["fvu", "dead_share"])
@pytest.mark.parametrize(("idle", "shift"), [([0.0] * 3, 1.0), ([0.5] * 3, 0.0)], ids=["none-dead", "no-error"])
def test_no_dead_latents_and_no_error_give_zero_and_no_nan(scale: str, idle: list[float], shift: float):
    pre = torch.full((2, 3), -1.0, requires_grad=True)
    target = torch.tensor([[1.0, 3.0], [0.0, 1.0]])
    value = _loss(scale=scale)(pre, DICTIONARY, torch.tensor(idle), target, target - shift * torch.tensor([[1.0], [2.0]]))["loss"]
    value.backward()
    assert value == 0.0 and pre.grad.isfinite().all()


def test_the_error_is_a_constant():
    guess = torch.ones(1, 2, requires_grad=True)
    pre = torch.ones(1, 3, requires_grad=True)
    _loss(scale="dead_share")(pre, DICTIONARY, torch.full((3,), 0.75), torch.zeros(1, 2), guess)["loss"].backward()
    assert guess.grad is None and pre.grad.abs().sum() > 0
