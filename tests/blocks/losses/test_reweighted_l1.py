from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.losses.log_penalty import LogPenalty
from archsearch.blocks.losses.reweighted_l1 import ReweightedL1
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import JOINED, _free, norms_of, norms_slope, sizes_of


def reference(settings, ports, tensors):
    return {"loss": np.mean([sum(f / (f + settings["eps"]) for f in row) for row in sizes_of(settings, ports)])}


def reference_grad(settings, ports, tensors, above):
    """Each weight is a constant: 1 / (size + eps) times the slope of the size."""
    code, rows = ports["code"], len(sizes_of(settings, ports))
    norms = norms_of(settings, ports["dictionary"]) if "dictionary" in ports else np.ones(code.shape[-1])
    weight = above["loss"] / rows / (np.abs(code) * norms + settings["eps"])
    found = {"code": weight * np.where(code < 0, -1, 1) * norms}
    if "dictionary" in ports:
        slope = (weight * np.abs(code)).reshape(-1, code.shape[-1]).sum(0)
        found |= norms_slope(settings, ports["dictionary"], slope)
    return found


EXAMPLE = Example(
    cases=(Case(), Case({"eps": 2.0, "norm": "dictionary", "dictionaries": "concatenated"}), Case(levels=LEVELS)),
    fields={"eps": Two(0.1, 1.0), "norm": Two("plain", "dictionary"), "dictionaries": JOINED},
    reference=reference,
    reference_grad=reference_grad,
    sae=_free,
)


def test_its_value_counts_latents_softly():
    loss = ReweightedL1(ReweightedL1.Spec(eps=1.0), Sizes(2, 4))
    assert loss(torch.tensor([[1.0, 3.0, 0.0, -1.0]]))["loss"] == 0.5 + 0.75 + 0.5


def test_it_pulls_as_the_log_penalty_does():
    pulls = []
    for kind in (ReweightedL1, LogPenalty):
        code = torch.tensor([[1.0, 3.0, 0.01]], requires_grad=True)
        kind(kind.Spec(eps=0.1), Sizes(2, 3))(code)["loss"].backward()
        pulls.append(code.grad)
    torch.testing.assert_close(*pulls)
