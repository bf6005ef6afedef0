"""Tanh penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper


class TanhPenalty(Penalty):
    """Sums the hyperbolic tangent of the code and takes the mean over rows: `mean_b sum_i tanh(c |f_i|)`.

    It counts large entries as 1 and small ones in proportion, so it lies between `l1` (small c) and the number of latents that are on
    (large c). The January 2025 form is `norm: dictionary`, `tanh(c |f_i| |d_i|)`. February 2024's `(A / B) tanh(B f)` is c = B with
    `weight` times A / B.

    Gradient: `c (1 - tanh(c |f_i|)^2)`: entries far above 1 / c are not shrunk.
    """

    class Spec(PenaltySpec):
        kind: Literal["tanh_penalty"] = "tanh_penalty"
        c: float = Field(4.0, gt=0, allow_inf_nan=False, description="Steepness c (per unit of the code).")

    paper = Paper(
        title="Circuits updates, January 2025",
        url="https://transformer-circuits.pub/2025/january-update/index.html",
        where="dictionary learning: the sparsity penalty",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("c", float(spec.c))

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None = None) -> Out:
        return Out(loss=(self.c * self.sizes(code, dictionary)).tanh().sum(-1).mean())
