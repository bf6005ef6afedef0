from __future__ import annotations

import torch

from archsearch.blocks.ops.pre_bias import PreBias
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import Case, Example, Two, base


def reference(settings, ports, tensors):
    return {"x": ports["x"] - ports.get("bias", tensors.get("own_bias"))}


def _sae(spec):
    document = base()
    document["graph"]["center"] = spec
    return document


EXAMPLE = Example(
    cases=(Case(), Case({"shared": False}), Case(wired=("bias",))),
    fields={"shared": Two(True, False), "from_": Two(None, {"bias": {"signal": "decoder.bias", "detach": True}})},
    reference=reference,
    sae=_sae,
)


def test_the_wired_bias_is_subtracted_and_no_other_is_learned():
    block = PreBias(PreBias.Spec(), Sizes(2, 0, {"bias": (Info(Signal.BIAS, 2),)}))
    assert block(torch.tensor([[1.0, 2.0]]), torch.tensor([1.0, 1.0]))["x"].tolist() == [[0.0, 1.0]]
    assert not list(block.parameters())
