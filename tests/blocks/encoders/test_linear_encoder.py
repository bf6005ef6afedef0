from __future__ import annotations

import torch

from archsearch.blocks.encoders.linear_encoder import LinearEncoder
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two


def reference(settings, ports, tensors):
    shift = tensors.get("bias", [0.0] * len(tensors["weight"]))
    rows = ports["x"]
    return {"pre": [[sum(w * v for w, v in zip(weight, row)) + b for weight, b in zip(tensors["weight"], shift)] for row in rows]}


EXAMPLE = Example(cases=(Case(), Case({"bias": False})), fields={"bias": Two(True, False)}, reference=reference)


def test_one_direction_per_latent():
    block = LinearEncoder(LinearEncoder.Spec(), Sizes(model=2, latent=3))
    block.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    block.bias.data = torch.tensor([0.0, 10.0, 0.0])
    assert block(torch.tensor([[2.0, 3.0]]))["pre"].tolist() == [[2.0, 13.0, 5.0]]
