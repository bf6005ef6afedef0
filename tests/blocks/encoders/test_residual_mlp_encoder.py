from __future__ import annotations

import math

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.encoders.residual_mlp_encoder import ResidualMLPEncoder
from archsearch.blocks.signals import Sizes
from archsearch.training.member import start
from tests.blocks.harness import Case, Example, Two, base, data


def _act(value, name):
    return max(value, 0.0) if name == "relu" else value * 0.5 * (1 + math.erf(value / math.sqrt(2)))


def _affine(row, weight, bias):
    return [sum(w * v for w, v in zip(ws, row)) + b for ws, b in zip(weight, bias)]


def reference(settings, ports, tensors):
    out = []
    for row in ports["x"]:
        for block in range(settings["num_blocks"]):
            inner = _affine(row, tensors[f"inner_weight_{block}"], tensors[f"inner_bias_{block}"])
            hidden = [_act(value, settings["activation"]) for value in inner]
            step = _affine(hidden, tensors[f"outer_weight_{block}"], tensors[f"outer_bias_{block}"])
            row = [value + more for value, more in zip(row, step)]
        out.append(_affine(row, tensors["weight"], tensors["bias"]))
    return {"pre": out}


EXAMPLE = Example(
    settings={"hidden": 7},
    cases=(Case(), Case({"num_blocks": 3, "activation": "gelu"})),
    fields={"num_blocks": Two(1, 2), "hidden": Two(4, 9), "activation": Two("relu", "gelu")},
    reference=reference,
)


def test_one_block_by_hand():
    block = ResidualMLPEncoder(ResidualMLPEncoder.Spec(hidden=1), Sizes(model=2, latent=2))
    block.inner_weight_0.data, block.inner_bias_0.data = torch.tensor([[1.0, 0.0]]), torch.tensor([-1.0])
    block.outer_weight_0.data, block.outer_bias_0.data = torch.tensor([[0.0], [2.0]]), torch.tensor([0.0, 0.0])
    block.weight.data, block.bias.data = torch.eye(2), torch.tensor([0.0, 10.0])
    # 3 - 1 = 2 passes the ReLU and adds 4 to the second entry; 0 - 1 does not.
    assert block(torch.tensor([[3.0, 1.0], [0.0, 1.0]]))["pre"].tolist() == [[3.0, 15.0], [0.0, 11.0]]


@pytest.mark.parametrize("num_blocks", [1, 3])
def test_it_starts_as_the_linear_encoder_it_generalises(num_blocks: int):
    document = base()
    document["graph"]["encoder"] = {"kind": "residual_mlp_encoder", "hidden": 9, "num_blocks": num_blocks}
    sae = start(parse(document), data(), data(), precision="float64").sae
    encoder, x = sae.block("encoder"), torch.randn(5, 6, dtype=torch.float64)
    assert encoder.inner_weight_0.abs().sum() > 0 and encoder.weight.abs().sum() > 0
    torch.testing.assert_close(encoder(x)["pre"], x @ encoder.weight.T + encoder.bias)
    torch.testing.assert_close(encoder.weight.data, sae.block("decoder").dictionary.data)


def test_flops_count_every_block_and_the_last_map():
    spec = ResidualMLPEncoder.Spec(hidden=10, num_blocks=2)
    assert ResidualMLPEncoder.flops(spec, Sizes(model=3, latent=7)) == 2 * (2 * (3 * 10 + 10 * 3) + 3 * 7)
