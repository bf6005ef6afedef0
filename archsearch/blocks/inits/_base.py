"""Contract of the init slot: an event before the first step."""

from __future__ import annotations

from torch import Generator

from archsearch.blocks._block import Block
from archsearch.blocks.views import SAEView


class Init(Block, abstract=True):
    """Gives a whole SAE its first weights. Plain torch on one member at a time; draws only from `generator`."""

    slot = "init"
    default_kind = "transposed"

    def apply_to(self, sae: SAEView, generator: Generator) -> None:
        """Writes the parameters of `sae` in place."""
        raise NotImplementedError  # abstract
