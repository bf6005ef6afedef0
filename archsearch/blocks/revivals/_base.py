"""Contract of the revival slot: events that bring dead latents back."""

from __future__ import annotations

from torch import Generator

from archsearch.blocks._block import Block
from archsearch.blocks.views import SAEView


class Revival(Block, abstract=True):
    """Changes dead latents at given moments of the run. Plain torch on one member at a time; draws only from `generator`."""

    slot = "revival"

    def suits(self, dictionaries: dict[str, frozenset[str]]) -> None:
        """Checks that the event can act on the SAE's dictionaries, given the parameter signals around each (`weight`, `dictionary`).

        Raises:
            InvalidInput: it cannot.
        """

    def steps(self, total_steps: int, batch: int) -> list[int]:
        """Returns the steps after which the event happens, in order.

        Raises:
            InvalidInput: an event cannot act in a run of this length.
        """
        raise NotImplementedError  # abstract

    def apply_to(self, sae: SAEView, generator: Generator) -> dict[str, float]:
        """Changes parameters and moments of `sae` in place; returns what is worth logging (e.g. latents revived)."""
        raise NotImplementedError  # abstract
