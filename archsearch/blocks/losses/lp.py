"""Lp penalty."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class Lp(Loss):
    """Sums a power of the code and takes the mean over rows: `mean_b sum_i |f_i|^p`; the square root is p = 0.5.

    `power: inner` is this sum (Lp^p); `outer` takes the norm of each row, `(sum_i |f_i|^p)^(1/p)`. With `norm: dictionary` each latent
    counts as `|f_i| |d_i|`.

    Gradient: `p |f|^(p-1)`, taken as zero at f = 0 (a masked code would give NaN for p < 1); just above zero it has no bound for p < 1,
    so clipping matters.
    """

    class Spec(LossSpec):
        kind: Literal["lp"] = "lp"
        p: float = Field(0.5, gt=0, le=2, description="Exponent (0 to 2); below 1 large values are penalised less than in proportion.")
        power: Literal["inner", "outer"] = Field("inner", description="Sum of powers, or the norm of each row.")
        norm: Literal["plain", "dictionary"] = Field("plain", description="Weigh latents alike, or by the norm of their dictionary row.")

    paper = Paper(
        title="Measuring progress in dictionary learning for language model interpretability with board game models",
        url="https://arxiv.org/abs/2408.00113",
        where="section 4, p-annealing: the Lp^p penalty",
    )
    sparsity = "weight"
    inputs = {
        "code": Port((Signal.CODE,), default="code", levels=True),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary"),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        self.setting("p", float(spec.p))
        self.outer = spec.power == "outer"

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.norm == "dictionary" else {"code": cls.inputs["code"]}

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Float[Tensor, "latent model"] | None = None) -> Out:
        size = code.abs() if dictionary is None else code.abs() * dictionary.norm(dim=-1)
        total = _power(size, self.p).sum(-1)
        return Out(loss=(_power(total, 1 / self.p) if self.outer else total).mean())


def _power(value: Tensor, exponent: Tensor) -> Tensor:
    """Returns `value ^ exponent` for values of at least zero, with gradient zero at zero."""
    on = value > 0
    # `where` twice: the branch not taken must be finite too, or its gradient is 0 * inf = NaN.
    return torch.where(on, torch.where(on, value, 1.0) ** exponent, 0.0)
