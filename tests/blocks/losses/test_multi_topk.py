from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.losses.multi_topk import MultiTopK
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import Case, Example, Two, base


def reference(settings, ports, tensors):
    pre, target = ports["pre"], ports["target"]
    missed = 0.0
    for row, values in enumerate(pre):
        chosen = torch.tensor(values).topk(min(settings["k"], len(values))).indices.tolist()
        rebuilt = ports["bias"].copy() if "bias" in ports else np.zeros(target.shape[1])
        for i in chosen:
            rebuilt = rebuilt + max(values[i], 0.0) * ports["dictionary"][i]
        missed += sum((target[row] - rebuilt) ** 2) / len(pre)
    if settings["scale"] == "plain":
        return {"loss": missed}
    return {"loss": target.shape[1] * missed / np.mean(((target - target.mean(0)) ** 2).sum(-1))}


def _sae(spec):
    document = base()
    document["graph"]["gate"] = {"kind": "topk", "k": 1}
    document["losses"] = {"term": spec}
    return document


EXAMPLE = Example(
    settings={"k": 4},
    cases=(Case(wired=("bias",)), Case(), Case({"k": 100}, wired=("bias",)), Case({"k": 2, "scale": "fvu"}, wired=("bias",))),
    fields={"weight": Two(0.1, 2.0), "k": Two(2, 4), "scale": Two("plain", "fvu")},
    reference=reference,
    sae=_sae,
)


def _loss(**settings) -> MultiTopK:
    space = (Info(Signal.ACTIVATION, 2),)
    return MultiTopK(MultiTopK.Spec(**settings), Sizes(2, 3, {"target": space}))


DICTIONARY = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_more_latents_rebuild_the_target():
    # The two largest are 3 and 2: (3, 0) + (0, 2), and the bias (1, 1). Of the target (4, 4) one unit is missing.
    loss = _loss(k=2)(torch.tensor([[3.0, 2.0, 1.0]]), DICTIONARY, torch.tensor([[4.0, 4.0]]), torch.ones(2))["loss"]
    assert loss == 1.0


def test_a_batch_of_equal_rows_has_no_variance_and_gives_zero_and_no_nan():
    pre = torch.ones(2, 3, requires_grad=True)
    loss = _loss(k=2, scale="fvu")(pre, DICTIONARY, torch.ones(2, 2), torch.ones(2))["loss"]
    loss.backward()
    assert loss == 0.0 and pre.grad.isfinite().all()
