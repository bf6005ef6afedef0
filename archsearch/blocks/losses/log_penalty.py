"""Log penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper


class LogPenalty(Penalty):
    """Sums logarithms of the code and takes the mean over rows: `mean_b sum_i log(1 + |f_i| / eps)`.

    The same as `log(|f_i| + eps) - log(eps)`, the form noanabeshima's matryoshka-saes uses with eps = 0.1 and `norm: dictionary`. As eps
    grows it becomes `l1` divided by eps.

    Gradient: `1 / (|f_i| + eps)`, at most 1 / eps: the larger an entry, the less it is shrunk.
    """

    class Spec(PenaltySpec):
        kind: Literal["log_penalty"] = "log_penalty"
        eps: float = Field(0.1, gt=0, allow_inf_nan=False, description="Size above which an entry is shrunk less (in units of the code).")

    paper = Paper(
        title="Enhancing sparsity by reweighted l1 minimization", url="https://arxiv.org/abs/0711.3612", where="the log-sum penalty"
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("eps", float(spec.eps))

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None = None) -> Out:
        return Out(loss=(self.sizes(code, dictionary) / self.eps).log1p().sum(-1).mean())
