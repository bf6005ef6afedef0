"""Linear warm-up, constant, linear decay."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from archsearch.blocks.schedules._base import Schedule
from archsearch.spec.block import BlockSpec, Field


class WarmupDecay(Schedule):
    """Rises linearly from zero, stays at one, and falls linearly to zero at the end of the run.

    Before the first step `progress` is 0: with a warm-up the first multiplier is 0.
    """

    class Spec(BlockSpec):
        kind: Literal["warmup_decay"] = "warmup_decay"
        warmup_frac: float = Field(0.0, ge=0, lt=1, description="Share of the run spent rising (0 to 1).")
        decay_frac: float = Field(0.2, ge=0, lt=1, description="Share of the run spent falling (0 to 1).")

    paper = None

    def __init__(self, spec: Spec):
        super().__init__()
        self.setting("warmup_frac", float(spec.warmup_frac))
        self.setting("decay_frac", float(spec.decay_frac))

    def forward(self, progress: Tensor) -> Tensor:
        rise = (progress / self.warmup_frac.clamp(min=1e-12)).clamp(max=1)
        fall = ((1 - progress) / self.decay_frac.clamp(min=1e-12)).clamp(max=1)
        return rise.where(self.warmup_frac > 0, 1.0) * fall.where(self.decay_frac > 0, 1.0)
