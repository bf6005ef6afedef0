"""TopK gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks.gates._base import Folded, above, jumping
from archsearch.blocks.gates._keeping import KeepingByRow, RowSpec
from archsearch.errors import InvalidInput
from archsearch.spec.block import Paper


class TopK(KeepingByRow):
    """Keeps the `k` largest pre-activations of every row, clipped at zero.

    With `k_start` the count goes from `k_start` to `k` over the first `anneal_frac` of the run, rounded to whole latents.

    `inference: calibrated` replaces the choice per row by one threshold for all rows and latents, `f = h 1[h >= theta] 1[h > 0]`, set at
    the end of the run so that rows of the calibrate split keep `k` latents on average; until then inference is by row.

    State: `threshold`, with `inference: calibrated` only; -1 until it is set.

    Gradient: flows through the kept entries only.
    """

    class Spec(RowSpec):
        kind: Literal["topk"] = "topk"

    paper = Paper(title="Scaling and evaluating sparse autoencoders", url="https://arxiv.org/abs/2406.04093", where="section 2.3")

    def score(self, pre: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return pre

    def value(self, pre: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        return pre.relu()

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        if not self.calibrated:
            what = "the k largest of each row are no thresholds; train it with `inference: calibrated`, which sets one"
            raise InvalidInput([what])
        if self.threshold < 0:
            raise InvalidInput(["its threshold is set at the end of the run, which it has not reached; train it to the end"])
        return jumping(above(torch.maximum(self.threshold, cutoff)))
