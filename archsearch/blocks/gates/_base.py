"""Contract of the gate slot: from pre-activations to a sparse code."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from archsearch.blocks._block import StepBlock
from archsearch.blocks.signals import Port, Signal


class Gate(StepBlock, abstract=True):
    """Decides which latents are on and how strongly.

    Shapes: `pre` [batch, latent] -> `code` [batch, latent], the main output; a latent is on where its code is not zero.
    """

    slot = "gate"
    inputs = {"pre": Port((Signal.PRE,))}
    outputs = {"code": Signal.CODE}
    soft: ClassVar[bool] = False
    """Whether codes in training are nonzero where those at inference are not: firing is then counted on the latter."""

    def calibrate(self, **ports: Tensor) -> dict[str, Tensor]:
        """Returns new values of state from the gate's ports on calibrate rows (event, once, at the end of the run)."""
        return {}
