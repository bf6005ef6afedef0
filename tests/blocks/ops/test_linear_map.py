from __future__ import annotations

import numpy as np
import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.ops.linear_map import LinearMap
from archsearch.blocks.signals import Sizes
from archsearch.training.member import start
from tests.blocks.harness import Case, Example, Two, base, data, place


def reference(settings, ports, tensors):
    matrix = tensors["matrix"] if "matrix" in tensors else tensors["up"] @ tensors["down"]
    return {"y": np.array([[sum(a * v for a, v in zip(row, x)) for row in matrix] for x in ports["x"]])}


def _sae(spec):
    document = base()
    document["graph"] |= {"skip": {"from": "x", **spec}, "output": {"kind": "add", "from": ["decoder", "skip"]}}
    return document


EXAMPLE = Example(
    cases=(Case(), Case({"bottleneck": 2}), Case({"bottleneck": 100})),
    fields={"bottleneck": Two(None, 2), "from_": Two("x", "center")},
    reference=reference,
    sae=_sae,
)


def test_a_map_by_hand():
    block = LinearMap(LinearMap.Spec(), Sizes(2, 0))
    block.matrix.data = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    assert block(torch.tensor([[3.0, 5.0]]))["y"].tolist() == [[5.0, 6.0]]


def test_a_skip_path_starts_as_nothing():
    for settings in ({}, {"bottleneck": 2}):
        member = start(parse(place("linear_map", settings)), data(), data(), precision="float64")
        signals = member.sae.signals(member.sae.scale(data()))
        assert (signals["skip.y"] == 0).all()
        assert all((value != 0).any() for name, value in member.sae.named_parameters() if name.endswith("down"))


def test_rank_is_that_of_the_bottleneck():
    assert LinearMap.rank(LinearMap.Spec(), [5], Sizes(5, 0)) == 5
    assert LinearMap.rank(LinearMap.Spec(bottleneck=2), [5], Sizes(5, 0)) == 2
    assert LinearMap.rank(LinearMap.Spec(bottleneck=4), [3], Sizes(5, 0)) == 3
