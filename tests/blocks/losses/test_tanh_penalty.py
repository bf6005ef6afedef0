from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.blocks.losses.tanh_penalty import TanhPenalty
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import JOINED, _free, sizes_of


def reference(settings, ports, tensors):
    return {"loss": np.mean([sum(math.tanh(settings["c"] * f) for f in row) for row in sizes_of(settings, ports)])}


EXAMPLE = Example(
    cases=(Case(), Case({"c": 0.5, "norm": "dictionary", "dictionaries": "concatenated"}), Case(levels=LEVELS)),
    fields={"c": Two(0.5, 4.0), "norm": Two("plain", "dictionary"), "dictionaries": JOINED},
    reference=reference,
    sae=_free,
)


def test_large_entries_count_one_and_are_not_pulled():
    code = torch.tensor([[50.0, -50.0, 0.0]], requires_grad=True)
    loss = TanhPenalty(TanhPenalty.Spec(), Sizes(2, 3))(code)["loss"]
    loss.backward()
    assert loss == 2.0 and code.grad[0, :2].tolist() == [0.0, 0.0]


def test_small_entries_count_c_times_their_size():
    loss = TanhPenalty(TanhPenalty.Spec(c=4.0), Sizes(2, 1))
    assert loss(torch.tensor([[1e-3]]))["loss"].item() == pytest.approx(4e-3, rel=1e-4)
