from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.losses.elastic import Elastic
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import _free


def reference(settings, ports, tensors):
    rows, a = ports["code"].reshape(-1, ports["code"].shape[-1]), settings["square_share"]
    absolute = np.mean([sum(abs(f) for f in row) for row in rows])
    if settings["squares"] == "dictionary":
        squares = sum(sum(v * v for v in row) for row in ports["dictionary"]) / ports["dictionary"].shape[1]
    else:
        squares = np.mean([sum(f * f for f in row) for row in rows])
    return {"loss": (1 - a) * absolute + a * squares}


EXAMPLE = Example(
    cases=(
        Case({"square_share": 0.3}),
        Case({"squares": "dictionary"}),
        Case(levels=LEVELS),
        Case({"squares": "dictionary"}, levels=LEVELS),
    ),
    fields={"square_share": Two(0.2, 0.7), "squares": Two("code", "dictionary")},
    reference=reference,
    sae=_free,
)


def test_half_absolute_values_half_squares():
    assert Elastic(Elastic.Spec(), Sizes(2, 2))(torch.tensor([[1.0, -3.0]]))["loss"] == 0.5 * 4 + 0.5 * 10


def test_the_package_s_means_are_weight_times_this():
    """Means over everything, with a coefficient lambda beside a mean squared error, times d: a squared error summed over d."""
    generator = torch.Generator().manual_seed(0)
    code, dictionary = torch.rand(6, 8, generator=generator), torch.randn(8, 5, generator=generator)
    coefficient, a = 0.7, 0.3
    theirs = coefficient * ((1 - a) * code.abs().mean() + a * dictionary.square().mean())
    ours = coefficient * 5 / 8 * Elastic(Elastic.Spec(square_share=a, squares="dictionary"), Sizes(5, 8))(code, dictionary)["loss"]
    torch.testing.assert_close(ours, theirs * 5)
