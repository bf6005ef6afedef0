"""Contract of the schedule slot: a multiplier that moves over the run."""

from __future__ import annotations

from torch import Tensor

from archsearch.blocks._block import Block


class Schedule(Block, abstract=True):
    """Gives the learning-rate multiplier of a step.

    Its settings are buffers with a leading member axis when members are stacked, and `progress` has the same shape.
    """

    slot = "schedule"
    default_kind = "warmup_decay"

    def forward(self, progress: Tensor) -> Tensor:
        """Returns the multiplier at `progress` (steps done / steps in all, 0 to 1)."""
        raise NotImplementedError  # abstract
