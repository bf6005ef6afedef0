"""Reweighted L1 penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper


class ReweightedL1(Penalty):
    """Sums the code's absolute values, each with a weight made from itself: `mean_b sum_i w_i |f_i|`, `w_i = 1 / (|f_i| + eps)`.

    The value is a soft count of the latents that are on: entries far above eps count nearly 1, entries far below nearly nothing.

    Gradient: the weights are constants, so it is `w_i`. That is the gradient of `log_penalty` with the same eps: trained by gradients, the
    two differ in the value they report and in nothing else. (The value itself has the slope `eps / (|f_i| + eps)^2`.)

    Differs from the paper: there the weights come from the last solution of a whole minimisation, here from the same step's code.
    """

    class Spec(PenaltySpec):
        kind: Literal["reweighted_l1"] = "reweighted_l1"
        eps: float = Field(0.1, gt=0, allow_inf_nan=False, description="Keeps weights at most 1 / eps (in units of the code).")

    paper = Paper(
        title="Enhancing sparsity by reweighted l1 minimization", url="https://arxiv.org/abs/0711.3612", where="the algorithm: its weights"
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("eps", float(spec.eps))

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None = None) -> Out:
        size = self.sizes(code, dictionary)
        return Out(loss=(size / (size.detach() + self.eps)).sum(-1).mean())
