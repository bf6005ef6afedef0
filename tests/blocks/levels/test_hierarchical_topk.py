from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.levels.hierarchical_topk import HierarchicalTopK
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import Case, Example, Two


def _masks(settings, code) -> np.ndarray:
    masks = np.zeros((len(settings["budgets"]) + 1, *code.shape))
    masks[-1] = 1
    for level, budget in enumerate(settings["budgets"]):
        for row, values in enumerate(abs(code)):
            # Which of several equal values is kept is the library's choice: the reference takes it.
            chosen = torch.tensor(values).topk(settings["budgets"][-1]).indices[:budget].tolist()
            assert sorted(values[chosen]) == sorted(values)[-budget:]
            masks[level, row, chosen] = 1
    return masks


def reference(settings, ports, tensors):
    return {"code": _masks(settings, ports["code"]) * ports["code"]}


def reference_grad(settings, ports, tensors, above):
    # By hand: which of the zeros of a row is taken along decides where a gradient goes, and has no derivative.
    return {"code": (above["code"] * _masks(settings, ports["code"])).sum(0)}


EXAMPLE = Example(
    settings={"budgets": [1, 3]},
    cases=(Case(), Case({"budgets": [2]}), Case({"budgets": [1, 2, 7]})),
    fields={"budgets": Two([1, 3], [2])},
    reference=reference,
    reference_grad=reference_grad,
)


def test_the_largest_then_the_two_largest_then_the_whole():
    level = HierarchicalTopK(HierarchicalTopK.Spec(budgets=[1, 2]), Sizes(2, 4))
    code = level(torch.tensor([[1.0, 0.0, -3.0, 2.0]]))["code"]
    assert code.tolist() == [[[0.0, 0.0, -3.0, 0.0]], [[0.0, 0.0, -3.0, 2.0]], [[1.0, 0.0, -3.0, 2.0]]]


def test_budgets_that_leave_nothing_out_or_do_not_rise_are_refused():
    with pytest.raises(AssemblyError, match="must be below the latents"):
        HierarchicalTopK.produces(HierarchicalTopK.Spec(budgets=[2, 8]), Sizes(2, 8))
    with pytest.raises(ValidationError, match="must rise"):
        HierarchicalTopK.Spec(budgets=[4, 4])
