from __future__ import annotations

import torch

from archsearch.blocks.gates.relu import ReLU
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Example


def reference(settings, ports, tensors):
    return {"code": [[max(value, 0.0) for value in row] for row in ports["pre"]]}


EXAMPLE = Example(reference=reference)


def test_negative_values_are_off():
    assert ReLU(ReLU.Spec(), Sizes(2, 3))(torch.tensor([[-1.0, 0.0, 2.0]]))["code"].tolist() == [[0.0, 0.0, 2.0]]
