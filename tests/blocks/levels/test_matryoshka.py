from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.levels.matryoshka import Matryoshka
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import Case, Example, Two


def reference(settings, ports, tensors):
    code = ports["code"]
    levels = []
    for share in [*settings["prefixes"], 1.0]:
        kept = code.copy()
        kept[:, round(share * code.shape[1]) :] = 0
        levels.append(kept)
    return {"code": np.stack(levels)}


EXAMPLE = Example(
    settings={"prefixes": [0.25, 0.5]},
    cases=(Case(), Case({"prefixes": [0.125, 0.25, 0.75]})),
    fields={"prefixes": Two([0.25, 0.5], [0.5])},
    reference=reference,
)


def test_prefixes_then_the_whole():
    level = Matryoshka(Matryoshka.Spec(prefixes=[0.25, 0.5]), Sizes(2, 4))
    code = level(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))["code"]
    assert code.tolist() == [[[1.0, 0.0, 0.0, 0.0]], [[1.0, 2.0, 0.0, 0.0]], [[1.0, 2.0, 3.0, 4.0]]]


@pytest.mark.parametrize("prefixes", [[0.01], [0.25, 0.3], [0.5, 0.25], [0.99]])
def test_levels_that_are_empty_or_coincide_are_refused(prefixes: list[float]):
    with pytest.raises(AssemblyError, match="rising levels"):
        Matryoshka.produces(Matryoshka.Spec(prefixes=prefixes), Sizes(2, 8))
