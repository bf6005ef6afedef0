"""Contract of the loss slot: one term of the training loss."""

from __future__ import annotations

from archsearch.blocks._block import StepBlock
from archsearch.blocks.signals import Signal
from archsearch.spec.block import LossSpec


class Loss(StepBlock, abstract=True):
    """Computes one scalar; the SAE multiplies it by `weight`, risen over `warmup_frac`, and adds it up.

    A term is a mean over rows and a sum over latents or model dimensions, in the scaled space where E|x|^2 = d.
    """

    slot = "loss"
    plain_kind = "squared_error"
    outputs = {"loss": Signal.LOSS}

    def __init__(self, spec: LossSpec):
        super().__init__()
        self.setting("weight", float(spec.weight))
        self.setting("warmup_frac", float(spec.warmup_frac))

    @classmethod
    def settled_frac(cls, spec: LossSpec) -> float:
        """Returns the share of the run over which the weight rises."""
        return spec.warmup_frac
