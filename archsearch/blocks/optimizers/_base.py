"""Contract of the optimizer slot: from gradients to changed parameters, as tensor arithmetic over members."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from archsearch.blocks._block import Block


class Optimizer(Block, abstract=True):
    """Updates one parameter of all members at once.

    `settings` hold the rule's numbers (and `lr` already multiplied by the schedule), shaped to broadcast against `parameter`: members
    with different rates share the arithmetic. The library optimisers are the test oracle.
    """

    slot = "optimizer"
    default_kind = "adam"

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """Returns the fresh state of one parameter; every tensor has its shape, so resetting a latent is resetting its rows."""
        raise NotImplementedError  # abstract

    def restart(self, moments: dict[str, Tensor], rows: Tensor) -> None:
        """Changes `moments` of one member's parameter in place, where new values were written into `rows` (a mask over its first axis)."""
        raise NotImplementedError  # abstract

    def update(self, gradient: Tensor, moments: dict[str, Tensor], parameter: Tensor, settings: Mapping[str, Tensor], step: Tensor) -> None:
        """Changes `moments` and `parameter` in place; `step` counts from 1 and broadcasts like a setting."""
        raise NotImplementedError  # abstract
