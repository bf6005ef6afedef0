"""Contract of the decoder slot: from a code back to the model's space."""

from __future__ import annotations

from archsearch.blocks._block import StepBlock
from archsearch.blocks.signals import Port, Signal


class Decoder(StepBlock, abstract=True):
    """Rebuilds an activation from a code with a dictionary.

    Shapes: `code` [..., batch, latent] -> `reconstruction` [..., batch, model], with the level axis of the code if it has one.
    """

    slot = "decoder"
    inputs = {"code": Port((Signal.CODE,), levels=True)}
    outputs = {"reconstruction": Signal.RECONSTRUCTION}
