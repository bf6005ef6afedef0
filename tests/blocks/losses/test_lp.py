from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.losses.lp import Lp
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import JOINED, _free, sizes_of


def reference(settings, ports, tensors):
    p = settings["p"]
    totals = [sum(f**p for f in row if f != 0) for row in sizes_of(settings, ports)]
    return {"loss": np.mean([total ** (1 / p) if total > 0 else 0.0 for total in totals] if settings["power"] == "outer" else totals)}


EXAMPLE = Example(
    cases=(
        Case(),
        Case({"p": 0.7, "power": "outer"}),
        Case({"norm": "dictionary", "dictionaries": "concatenated"}, levels=LEVELS),
        Case({"p": 2.0, "power": "outer", "norm": "dictionary"}),
    ),
    fields={"p": Two(0.5, 0.8), "power": Two("inner", "outer"), "norm": Two("plain", "dictionary"), "dictionaries": JOINED},
    reference=reference,
    sae=_free,
)


def test_the_square_root_by_eye():
    assert Lp(Lp.Spec(), Sizes(2, 2))(torch.tensor([[4.0, 9.0], [0.0, 1.0]]))["loss"] == (2 + 3 + 1) / 2


def test_the_norm_by_eye():
    assert Lp(Lp.Spec(p=2.0, power="outer"), Sizes(2, 2))(torch.tensor([[3.0, 4.0]]))["loss"] == 5.0


@pytest.mark.parametrize("power", ["inner", "outer"])
def test_masked_codes_have_no_nan_in_their_gradient(power: str):
    pre = torch.tensor([[1.0, -1.0], [-1.0, 0.0]], requires_grad=True)
    Lp(Lp.Spec(power=power), Sizes(2, 2))(pre * (pre > 0))["loss"].backward()
    assert pre.grad.isfinite().all() and pre.grad[0, 0] != 0 and pre.grad[1].tolist() == [0.0, 0.0]
