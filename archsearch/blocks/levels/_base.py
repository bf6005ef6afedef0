"""Contract of the level slot: one code seen at several levels of detail."""

from __future__ import annotations

from archsearch.blocks._block import StepBlock
from archsearch.blocks.signals import Port, Signal


class Level(StepBlock, abstract=True):
    """Gives a code a level axis; the last level is the whole code.

    Shapes: `code` [batch, latent] -> `code` [level, batch, latent]. Whatever reads it works on all levels at once.
    """

    slot = "level"
    inputs = {"code": Port((Signal.CODE,))}
    outputs = {"code": Signal.CODE}
