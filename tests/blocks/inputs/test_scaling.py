from __future__ import annotations

import pytest
import torch

from archsearch.blocks.inputs.scaling import Scaling
from archsearch.blocks.signals import Sizes
from archsearch.errors import DataError
from tests.blocks.harness import Example, Two


def reference(settings, ports, tensors):
    rows = ports["rows"]
    mean = sum(sum(v * v for v in row) for row in rows) / len(rows)
    factor = (rows.shape[1] / mean) ** (settings["power"] / 2)
    return {"factor": factor, "scaled": rows * factor}


EXAMPLE = Example(fields={"power": Two(1.0, 0.5)}, reference=reference)


def test_the_mean_squared_norm_becomes_the_width():
    scale = Scaling(Scaling.Spec(), Sizes(2, 0))
    rows = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    scale.fit(rows)
    assert scale(rows).square().sum(-1).mean().item() == pytest.approx(2.0)
    torch.testing.assert_close(scale.inverse(scale(rows)), rows)


def test_rows_that_are_all_zero_are_refused():
    with pytest.raises(DataError, match="must not all be zero"):
        Scaling(Scaling.Spec(), Sizes(2, 0)).fit(torch.zeros(3, 2))
