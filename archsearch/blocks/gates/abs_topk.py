"""AbsTopK gate."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks.gates._base import Folded
from archsearch.blocks.gates._keeping import KeepingByRow, RowSpec
from archsearch.errors import InvalidInput
from archsearch.spec.block import Paper


class AbsTopK(KeepingByRow):
    """Keeps the `k` pre-activations of every row that are largest in size, with their sign: a latent speaks for two opposite directions.

    Codes may be negative. With `k_start` the count goes from `k_start` to `k` over the first `anneal_frac` of the run, rounded to whole
    latents.

    `inference: calibrated` replaces the choice per row by one threshold for all rows and latents, `f = h 1[|h| >= theta]`, set at the end
    of the run so that rows of the calibrate split keep `k` latents on average; until then inference is by row.

    State: `threshold`, with `inference: calibrated` only; -1 until it is set.

    Gradient: flows through the kept entries only.
    """

    class Spec(RowSpec):
        kind: Literal["abs_topk"] = "abs_topk"

    paper = Paper(
        title="AbsTopK: rethinking sparse autoencoders for bidirectional features",
        url="https://arxiv.org/abs/2510.00404",
        where="the AbsTopK operator: hard thresholding by magnitude",
    )

    def score(self, pre: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return pre.abs()

    def value(self, pre: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return pre

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        raise InvalidInput(["its codes may be negative, and what exceeds a threshold is not; `topk` keeps the positive ones"])
