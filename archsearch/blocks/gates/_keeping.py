"""What gates that keep the largest latents share: a count, and the choice by row with one threshold in its stead."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._largest import largest
from archsearch.blocks._ramps import KSpec, k_at
from archsearch.blocks._thresholds import threshold_keeping
from archsearch.blocks.gates._counting import Counting
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field


class Keeping(Counting, abstract=True):
    """A count that one threshold may stand for at inference."""

    def __init__(self, spec: Any, sizes: Sizes):
        super().__init__(spec, sizes)
        self.calibrated = spec.inference == "calibrated"


class RowSpec(KSpec):
    """Settings of a gate that chooses by row."""

    k: int = Field(32, ge=1, description="Latents kept per row (count).")
    inference: Literal["rows", "calibrated"] = Field(
        "rows", description="At inference: the k largest of each row, or all above one threshold."
    )


class KeepingByRow(Keeping, abstract=True):
    """Keeps the `k` latents of every row whose pre-activations are largest; kinds differ in what is large, and in what is kept of it.

    `inference: calibrated` replaces the choice per row by one threshold for all rows and latents, set at the end of the run so that rows
    of the calibrate split keep `k` latents on average; until then inference is by row.

    State: `threshold`, with `inference: calibrated` only; -1 until it is set.
    """

    def __init__(self, spec: RowSpec, sizes: Sizes):
        super().__init__(spec, sizes)
        if self.calibrated:
            self.state("threshold", torch.full((), -1.0))

    def score(self, pre: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """Returns what is compared: with others of the row, or with the threshold."""
        raise NotImplementedError  # abstract

    def value(self, pre: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """Returns what a latent's code is if it is kept."""
        raise NotImplementedError  # abstract

    def forward(self, pre: Float[Tensor, "batch latent"], progress: Float[Tensor, ""] | None = None) -> Out:
        on = largest(self.score(pre), k_at(self, progress).round(), self.k_bound)
        code = self.value(pre) * on
        return Out(code=code, threshold=self.threshold) if self.calibrated else Out(code=code)

    def infer(self, pre: Float[Tensor, "batch latent"]) -> Out:
        code = self(pre)["code"]
        if not self.calibrated:
            return Out(code=code)
        score = self.score(pre)
        return Out(code=torch.where(self.threshold >= 0, pre * ((score >= self.threshold) & (score > 0)), code))

    def calibrate(self, pre: Float[Tensor, "rows latent"]) -> dict[str, Tensor]:
        return {"threshold": threshold_keeping(self.score(pre), self.k)} if self.calibrated else {}
