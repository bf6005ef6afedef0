from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.gates.groupmax import GroupMax
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import Case, Example, Two, base


def reference(settings, ports, tensors):
    pre = ports["pre"]
    code = np.zeros_like(pre)
    size = pre.shape[1] // settings["k"]
    for row, values in enumerate(pre):
        for group in range(settings["k"]):
            members = range(group * size, (group + 1) * size)
            best = max(members, key=lambda i: values[i])
            code[row, best] = max(values[best], 0.0)
    return {"code": code}


EXAMPLE = Example(
    settings={"k": 4}, cases=(Case(), Case({"k": 1}), Case({"k": 2}), Case({"k": 8})), fields={"k": Two(3, 4)}, reference=reference
)


def test_each_group_keeps_its_largest():
    gate = GroupMax(GroupMax.Spec(k=2), Sizes(2, 6))
    code = gate(torch.tensor([[1.0, 3.0, 2.0, -1.0, -2.0, -3.0]]))["code"]
    assert code.tolist() == [[0.0, 3.0, 0.0, 0.0, 0.0, 0.0]]


def test_groups_that_do_not_divide_the_latents_are_refused():
    with pytest.raises(AssemblyError, match="k=5 does not divide 6"):
        GroupMax(GroupMax.Spec(k=5), Sizes(2, 6))
    document = base()
    document["graph"]["gate"] = {"kind": "groupmax", "k": 5}
    with pytest.raises(AssemblyError, match=r"graph\.gate.*k=5 does not divide 12 latents"):
        assemble(parse(document), model=6)
