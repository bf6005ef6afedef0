from __future__ import annotations

import pytest
import torch

from archsearch.blocks.losses.l0_quadratic import L0Quadratic
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two
from tests.blocks.losses.test_l0 import _sae


def reference(settings, ports, tensors):
    counts, target = [sum(row) for row in ports["active"]], settings["target"]
    if settings["per"] == "row":
        return {"loss": sum(2 / target * (count - target) ** 2 for count in counts) / len(counts)}
    return {"loss": (sum(counts) / len(counts) / target - 1) ** 2}


EXAMPLE = Example(
    settings={"target": 3.0},
    cases=(Case(), Case({"per": "row"})),
    fields={"target": Two(2.0, 5.0), "per": Two("batch", "row")},
    reference=reference,
    sae=_sae,
)

ROWS = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize(("per", "target", "expected"), [("batch", 2.0, 0.0), ("batch", 1.0, 1.0), ("row", 2.0, 4.0), ("row", 4.0, 4.0)])
def test_a_batch_may_be_right_where_its_rows_are_not(per: str, target: float, expected: float):
    assert L0Quadratic(L0Quadratic.Spec(per=per, target=target), Sizes(2, 4))(ROWS)["loss"] == expected


@pytest.mark.parametrize("per", ["batch", "row"])
def test_it_pulls_from_both_sides(per: str):
    for target, sign in ((1.0, 1), (3.5, -1)):
        active = torch.ones(2, 4)
        active[:, 2:] = 0
        active.requires_grad_(True)
        L0Quadratic(L0Quadratic.Spec(per=per, target=target), Sizes(2, 4))(active)["loss"].backward()
        assert (active.grad.sign() == sign).all()
