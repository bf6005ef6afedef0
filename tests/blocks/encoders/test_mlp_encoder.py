from __future__ import annotations

import math

import torch

from archsearch.blocks.encoders.mlp_encoder import MLPEncoder
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two


def _act(value, name):
    return max(value, 0.0) if name == "relu" else value * 0.5 * (1 + math.erf(value / math.sqrt(2)))


def _affine(row, weight, bias):
    return [sum(w * v for w, v in zip(ws, row)) + b for ws, b in zip(weight, bias)]


def reference(settings, ports, tensors):
    out = []
    for row in ports["x"]:
        hidden = [_act(value, settings["activation"]) for value in _affine(row, tensors["inner_weight"], tensors["inner_bias"])]
        out.append(_affine(hidden, tensors["outer_weight"], tensors["outer_bias"]))
    return {"pre": out}


EXAMPLE = Example(
    settings={"hidden": 7},
    cases=(Case(), Case({"activation": "gelu"})),
    fields={"hidden": Two(4, 9), "activation": Two("relu", "gelu")},
    reference=reference,
)


def test_two_layers_by_hand():
    block = MLPEncoder(MLPEncoder.Spec(hidden=1), Sizes(model=1, latent=2))
    block.inner_weight.data, block.inner_bias.data = torch.tensor([[2.0]]), torch.tensor([-1.0])
    block.outer_weight.data, block.outer_bias.data = torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, 5.0])
    # 2 * 3 - 1 = 5 passes the ReLU; 2 * 0 - 1 does not.
    assert block(torch.tensor([[3.0], [0.0]]))["pre"].tolist() == [[5.0, 0.0], [0.0, 5.0]]


def test_flops_count_both_layers():
    assert MLPEncoder.flops(MLPEncoder.Spec(hidden=10), Sizes(model=3, latent=7)) == 2 * 10 * (3 + 7)
