"""Contract of the init slot: an event before the first step."""

from __future__ import annotations

from torch import Generator

from archsearch.blocks._block import Block
from archsearch.blocks.views import SAEView


class Init(Block, abstract=True):
    """Gives a whole SAE its first weights. Plain torch on one member at a time; draws only from `generator`."""

    slot = "init"
    default_kind = "transposed"

    def start(self, sae: SAEView, generator: Generator) -> None:
        """Shows data to the blocks that ask for some, then gives the weights (in place)."""
        if sae.fittings:
            # The same rows for all, so that latent i of a crosscoder starts from one row at every hook point.
            rows = sae.sample(max(fitting.rows for fitting in sae.fittings), generator)
            for fitting in sae.fittings:
                fitting.fit(rows[fitting.source][: fitting.rows])
        self.apply_to(sae, generator)

    def apply_to(self, sae: SAEView, generator: Generator) -> None:
        """Writes the parameters of `sae` in place, those that a fit has set apart."""
        raise NotImplementedError  # abstract
