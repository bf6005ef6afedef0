"""Contract of the controller slot: moves the strength of penalties by what they bring about."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Block, Out


class Controller(Block, abstract=True):
    """Reads the sparsity of every batch and sets `strength`, the factor on every term whose setting moves sparsity.

    `strength` is declared state that starts at one; like every state it is read before a step and returned after it. The rule is tensor
    arithmetic: it runs alone or under `torch.func.vmap`. `wanted` is the effective L0 it steers to.
    """

    slot = "controller"
    default_kind = "l0_controller"
    wanted: float

    def forward(self, l0: Float[Tensor, ""], progress: Float[Tensor, ""], rate: Float[Tensor, ""]) -> Out:
        """Returns new state after a batch of effective L0 `l0` (in training).

        `progress`: share of the run done; `rate`: multiplier of the learning rate at this step.
        """
        raise NotImplementedError  # abstract

    def steps(self, total_steps: int) -> list[int]:
        """Returns the steps after which `check` is called, in order.

        Raises:
            InvalidInput: a check cannot act in a run of this length.
        """
        return []

    def check(self, l0: float) -> None:
        """Takes note, in place, of the effective L0 at inference on rows the training does not see (event, plain torch)."""

    def reason(self, l0: float) -> str:
        """Returns in words why the run ended at `l0` instead of what was wanted, and what to try."""
        raise NotImplementedError  # abstract
