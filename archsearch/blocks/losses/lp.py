"""Lp penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows, power
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper


class Lp(Penalty):
    """Sums a power of the code and takes the mean over rows: `mean_b sum_i |f_i|^p`; the square root is p = 0.5.

    `power: inner` is this sum (Lp^p); `outer` takes the norm of each row, `(sum_i |f_i|^p)^(1/p)`. With `norm: dictionary` each latent
    counts as `|f_i| |d_i|`.

    Gradient: `p |f|^(p-1)`, taken as zero at f = 0 (a masked code would give NaN for p < 1); just above zero it has no bound for p < 1,
    so clipping matters.
    """

    class Spec(PenaltySpec):
        kind: Literal["lp"] = "lp"
        p: float = Field(0.5, gt=0, le=2, description="Exponent (0 to 2); below 1 large values are penalised less than in proportion.")
        power: Literal["inner", "outer"] = Field("inner", description="Sum of powers, or the norm of each row.")

    paper = Paper(
        title="Measuring progress in dictionary learning for language model interpretability with board game models",
        url="https://arxiv.org/abs/2408.00113",
        where="section 4, p-annealing: the Lp^p penalty",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("p", float(spec.p))
        self.outer = spec.power == "outer"

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None = None) -> Out:
        total = power(self.sizes(code, dictionary), self.p).sum(-1)
        return Out(loss=(power(total, 1 / self.p) if self.outer else total).mean())
