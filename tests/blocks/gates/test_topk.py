from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.gates.topk import TopK
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two


def reference(settings, ports, tensors):
    pre = ports["pre"]
    code = np.zeros_like(pre)
    for row, values in enumerate(pre):
        # Which of several equal values is kept is the library's choice: the reference takes it.
        chosen = torch.tensor(values).topk(min(settings["k"], len(values))).indices.tolist()
        assert sorted(values[chosen]) == sorted(values)[-len(chosen) :]
        for index in chosen:
            code[row, index] = max(values[index], 0.0)
    return {"code": code}


EXAMPLE = Example(settings={"k": 3}, cases=(Case(), Case({"k": 100})), fields={"k": Two(2, 5)}, reference=reference)


def test_the_largest_two_stay():
    gate = TopK(TopK.Spec(k=2), Sizes(2, 4))
    assert gate(torch.tensor([[1.0, 3.0, -5.0, 2.0]]))["code"].tolist() == [[0.0, 3.0, 0.0, 2.0]]


def test_negative_values_are_clipped_even_when_chosen():
    gate = TopK(TopK.Spec(k=2), Sizes(2, 3))
    assert gate(torch.tensor([[-1.0, 3.0, -2.0]]))["code"].tolist() == [[0.0, 3.0, 0.0]]
