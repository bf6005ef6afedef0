"""Contract of the input slot: conditioning of activations before the graph, undone after it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Block


class Input(Block, abstract=True):
    """Maps activations into the space the graph works in, and back.

    One instance serves one named input. `fit` is its event, before training; `forward` and `inverse` belong to the step.
    """

    slot = "input"
    default_kind = "scaling"

    def fit(self, rows: Float[Tensor, "batch model"]) -> None:
        """Sets the state from rows of the calibrate split (in place)."""
        raise NotImplementedError  # abstract: every input block says what it learns, even if nothing

    def forward(self, x: Float[Tensor, "batch model"]) -> Float[Tensor, "batch model"]:
        """Returns the activations as the graph sees them."""
        raise NotImplementedError  # abstract

    def inverse(self, y: Float[Tensor, "*batch model"]) -> Float[Tensor, "*batch model"]:
        """Returns what the graph put out in the units of the activations."""
        raise NotImplementedError  # abstract
