"""Contract of the encoder slot: from the model's space to pre-activations."""

from __future__ import annotations

from archsearch.blocks._block import StepBlock
from archsearch.blocks.signals import SPACE, Port, Signal


class Encoder(StepBlock, abstract=True):
    """Maps an activation to one pre-activation per latent.

    Shapes: `x` [batch, model] -> `pre` [batch, latent].
    """

    slot = "encoder"
    plain_kind = "linear_encoder"
    inputs = {"x": Port(SPACE)}
    outputs = {"pre": Signal.PRE}
