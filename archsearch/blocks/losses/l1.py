"""L1 penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows
from archsearch.spec.block import Paper


class L1(Penalty):
    """Sums the absolute values of the code, and takes the mean over rows: `mean_b sum_i |f_i|`.

    With `norm: dictionary` each latent counts with the norm of its dictionary row, `|f_i| |d_i|`, so that a free decoder cannot escape
    the penalty by growing.

    Gradient: it reaches the dictionary's norms too. Frozen norms, as gated SAEs without a norm constraint may have them, are a detached
    wire: `from: {dictionary: {signal: decoder.dictionary, detach: true}}`.
    """

    class Spec(PenaltySpec):
        kind: Literal["l1"] = "l1"

    paper = Paper(
        title="Circuits updates, April 2024", url="https://transformer-circuits.pub/2024/april-update", where="training SAEs: the loss"
    )

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None = None) -> Out:
        return Out(loss=self.sizes(code, dictionary).sum(-1).mean())
