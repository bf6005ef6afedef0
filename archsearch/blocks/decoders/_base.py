"""Contract of the decoder slot: from a code back to the model's space."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import StepBlock
from archsearch.blocks.signals import Port, Signal


class Decoder(StepBlock, abstract=True):
    """Rebuilds an activation from a code with a dictionary.

    Shapes: `code` [..., batch, latent] -> `reconstruction` [..., batch, model], with the level axis of the code if it has one.
    """

    slot = "decoder"
    plain_kind = "linear_decoder"
    inputs = {"code": Port((Signal.CODE,), levels=True)}
    outputs = {"reconstruction": Signal.RECONSTRUCTION}

    @classmethod
    def rows_to_fit(cls, spec: Any) -> int:
        """Returns how many rows of data `fit` asks for (count); zero for a decoder that starts without data."""
        return 0

    def fit(self, rows: Float[Tensor, "rows model"]) -> None:
        """Sets state and parameters from rows of the train split that the decoder rebuilds, scaled (event, in place, before the init).

        There are `rows_to_fit` rows, or as many as the split has.
        """
        raise NotImplementedError  # abstract for a decoder that asks for rows
