from __future__ import annotations

import math

import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.encoders.glu_encoder import GLUEncoder
from archsearch.blocks.signals import Sizes
from archsearch.training.member import start
from tests.blocks.harness import Example, base, data


def _affine(row, weight, bias):
    return [sum(w * v for w, v in zip(ws, row)) + b for ws, b in zip(weight, bias)]


def reference(settings, ports, tensors):
    out = []
    for row in ports["x"]:
        linear, opening = (_affine(row, tensors[f"{name}weight"], tensors[f"{name}bias"]) for name in ("", "gate_"))
        out.append([h / (1 + math.exp(-g)) for h, g in zip(linear, opening)])
    return {"pre": out}


EXAMPLE = Example(reference=reference)


def test_an_open_a_closed_and_a_half_open_latent():
    block = GLUEncoder(GLUEncoder.Spec(), Sizes(model=1, latent=3))
    block.weight.data, block.bias.data = torch.tensor([[2.0], [2.0], [2.0]]), torch.tensor([0.0, 0.0, 4.0])
    block.gate_bias.data = torch.tensor([200.0, -200.0, 0.0])
    assert block(torch.tensor([[3.0]]))["pre"].tolist() == [[6.0, 0.0, 5.0]]


def test_it_starts_as_half_a_linear_encoder_and_its_gates_learn():
    document = base()
    document["graph"]["encoder"] = "glu_encoder"
    sae = start(parse(document), data(), data(), precision="float64").sae
    encoder, x = sae.block("encoder"), data()["x"]
    torch.testing.assert_close(encoder(x)["pre"], 0.5 * (x @ encoder.weight.T + encoder.bias))
    torch.testing.assert_close(encoder.weight.data, sae.block("decoder").dictionary.data)
    loss, _, _ = sae({"x": x}, torch.zeros((), dtype=torch.float64))
    (found,) = torch.autograd.grad(loss, encoder.gate_weight)
    assert (found.abs().sum(-1) > 0).any()


def test_flops_count_both_products():
    assert GLUEncoder.flops(GLUEncoder.Spec(), Sizes(model=3, latent=7)) == 2 * 2 * 3 * 7
