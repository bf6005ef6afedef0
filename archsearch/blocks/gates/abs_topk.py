"""AbsTopK gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._ramps import KSpec, k_at, set_k
from archsearch.blocks._thresholds import threshold_keeping
from archsearch.blocks.gates._base import Folded, Gate
from archsearch.blocks.signals import Given, Sizes
from archsearch.errors import InvalidInput
from archsearch.spec.block import Field, Paper


class AbsTopK(Gate):
    """Keeps the `k` pre-activations of every row that are largest in size, with their sign: a latent speaks for two opposite directions.

    Codes may be negative. With `k_start` the count goes from `k_start` to `k` over the first `anneal_frac` of the run, rounded to whole
    latents.

    `inference: calibrated` replaces the choice per row by one threshold for all rows and latents, `f = h 1[|h| >= theta]`, set at the end
    of the run so that rows of the calibrate split keep `k` latents on average; until then inference is by row.

    State: `threshold`, with `inference: calibrated` only; -1 until it is set.

    Gradient: flows through the kept entries only.
    """

    class Spec(KSpec):
        kind: Literal["abs_topk"] = "abs_topk"
        k: int = Field(32, ge=1, description="Latents kept per row (count).")
        inference: Literal["rows", "calibrated"] = Field(
            "rows", description="At inference: the k largest of each row, or all above one threshold."
        )

    paper = Paper(
        title="AbsTopK: rethinking sparse autoencoders for bidirectional features",
        url="https://arxiv.org/abs/2510.00404",
        where="the AbsTopK operator: hard thresholding by magnitude",
    )
    sparsity = l0_setting = "k"

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        set_k(self, spec, sizes)
        self.calibrated = spec.inference == "calibrated"
        if self.calibrated:
            self.state("threshold", -torch.ones(()))

    @classmethod
    def given(cls, spec: Spec) -> dict[str, Given]:
        return spec.k_given()

    @classmethod
    def l0_range(cls, spec: Spec) -> tuple[float, float]:
        """Returns the least and the most latents a row may have on, as far as settings alone tell."""
        return (float(spec.k), float(spec.k))

    def forward(self, pre: Float[Tensor, "batch latent"], progress: Float[Tensor, ""] | None = None) -> Out:
        chosen = pre.abs().topk(self.k_bound, dim=-1).indices
        values = pre.gather(-1, chosen) * (torch.arange(self.k_bound, device=pre.device) < k_at(self, progress).round())
        code = torch.zeros_like(pre).scatter(-1, chosen, values)
        return Out(code=code, threshold=self.threshold) if self.calibrated else Out(code=code)

    def infer(self, pre: Float[Tensor, "batch latent"]) -> Out:
        code = self(pre)["code"]
        if not self.calibrated:
            return Out(code=code)
        return Out(code=torch.where(self.threshold >= 0, pre * (pre.abs() >= self.threshold), code))

    def calibrate(self, pre: Float[Tensor, "rows latent"]) -> dict[str, Tensor]:
        return {"threshold": threshold_keeping(pre.abs(), self.k)} if self.calibrated else {}

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        raise InvalidInput(["its codes may be negative, and what exceeds a threshold is not; `topk` keeps the positive ones"])
