from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.blocks.losses.log_penalty import LogPenalty
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import JOINED, _free, sizes_of


def reference(settings, ports, tensors):
    eps = settings["eps"]
    return {"loss": np.mean([sum(math.log(f + eps) - math.log(eps) for f in row) for row in sizes_of(settings, ports)])}


EXAMPLE = Example(
    cases=(Case(), Case({"eps": 2.0, "norm": "dictionary", "dictionaries": "concatenated"}), Case(levels=LEVELS)),
    fields={"eps": Two(0.1, 1.0), "norm": Two("plain", "dictionary"), "dictionaries": JOINED},
    reference=reference,
    sae=_free,
)


def test_entries_of_e_minus_one_count_one():
    loss = LogPenalty(LogPenalty.Spec(eps=1.0), Sizes(2, 2))
    assert loss(torch.tensor([[math.e - 1, 0.0], [math.e - 1, 1 - math.e]]))["loss"].item() == pytest.approx(1.5)


def test_a_wide_eps_is_an_l1_penalty():
    code = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
    assert 1e6 * LogPenalty(LogPenalty.Spec(eps=1e6), Sizes(2, 3))(code)["loss"].item() == pytest.approx(3.0, rel=1e-4)
