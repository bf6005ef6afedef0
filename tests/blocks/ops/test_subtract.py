from __future__ import annotations

import torch

from archsearch.blocks.ops.subtract import Subtract
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Example, Two


def reference(settings, ports, tensors):
    return {"difference": ports["terms"][0] - ports["terms"][1]}


def two_stages(rest):
    return {
        "width": 12,
        "graph": {
            "one": "linear_encoder",
            "one_gate": {"kind": "topk", "k": 2},
            "coarse": "linear_decoder",
            "rest": {"from": ["x", "coarse"], **rest},
            "two": "linear_encoder",
            "two_gate": {"kind": "topk", "k": 2},
            "fine": "linear_decoder",
            "output": {"kind": "add", "from": ["coarse", "fine"]},
        },
        "training": {"tokens": 128, "batch": 16, "optimizer": {"kind": "adam", "lr": 0.02}},
    }


EXAMPLE = Example(fields={"from_": Two(["x", "coarse"], ["coarse", "x"])}, reference=reference, sae=two_stages)


def test_the_second_is_taken_from_the_first():
    assert Subtract(Subtract.Spec(), Sizes(2, 2))([torch.tensor([5.0]), torch.tensor([2.0])])["difference"].tolist() == [3.0]
