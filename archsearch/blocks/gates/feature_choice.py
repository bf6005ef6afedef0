"""Feature Choice gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._ramps import KSpec, k_at
from archsearch.blocks.gates._base import Folded, above, jumping
from archsearch.blocks.gates._keeping import Keeping
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, refuse_unused


class FeatureChoice(Keeping):
    """Lets latents choose rows: latent `i` keeps its `m_i` largest pre-activations of the batch, clipped at zero, `sum_i m_i = k * batch`.

    `m_i` is proportional to `(i + offset)^-exponent` for latents `i = 1, 2, ...`: equal for exponent 0, a Zipf law above. Rounding is of
    the running sum, `m_i = round(c_i) - round(c_(i-1))`, so the total is exact. A latent due less than half a row of a batch may get none
    in any; one due more than the whole batch gets all of it, and the rest of its due is lost.

    With `k_start` the count goes from `k_start` to `k` over the first `anneal_frac` of the run.

    State, per latent: `threshold`, running mean of its smallest kept value (a plain mean over the first `memory` batches, then
    exponential); `seen`, batches in which it kept anything. Inference keeps positive values from the latent's threshold up; a latent that
    never kept anything stays off. A running mean over small batches keeps too few rows where `m_i` is small (L0 6.7 for k = 8 in batches of
    256, bundled model); with `inference: calibrated` the thresholds are set at the end of the run so that each latent keeps its share of
    the calibrate rows.

    Gradient: flows through the kept entries only.

    Differs from the paper: written from its description, not from code. There the law is fitted to the densities of a run that chooses
    freely (`batch_topk`); here exponent and offset are settings, and latents have their ranks by position from the start. Thresholds at
    inference are this block's own choice.
    """

    class Spec(KSpec):
        kind: Literal["feature_choice"] = "feature_choice"
        k: int = Field(32, ge=1, description="Latents kept per row, on average over the batch (count).")
        exponent: float = Field(0.0, ge=0, le=4, description="Exponent of the Zipf law of rows per latent; 0: the same for all.")
        offset: float = Field(0.0, ge=0, description="Added to a latent's rank in the Zipf law (count); flattens its head.")
        memory: int = Field(100, ge=1, description="Batches the running thresholds remember (count); inference: running only.")
        inference: Literal["running", "calibrated"] = Field("running", description="Where the thresholds at inference come from.")

        @model_validator(mode="after")
        def _acting(self) -> FeatureChoice.Spec:
            if self.inference == "calibrated":
                refuse_unused(self, ("memory",), "inference: calibrated")
            return self if self.exponent else refuse_unused(self, ("offset",), "exponent: 0")

    paper = Paper(
        title="Adaptive sparse allocation with mutual choice and feature choice sparse autoencoders",
        url="https://arxiv.org/abs/2411.02124",
        where="Feature Choice: at most m tokens per feature",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("exponent", float(spec.exponent))
        self.setting("offset", float(spec.offset))
        self.setting("memory", spec.memory)
        self.state("threshold", torch.zeros(sizes.latent))
        self.state("seen", torch.zeros(sizes.latent))
        # Static: rows of a batch the first latent, which gets most, may keep (a share of the batch).
        first = (1 + spec.offset) ** -spec.exponent / sum((i + spec.offset) ** -spec.exponent for i in range(1, sizes.latent + 1))
        self.share_bound = max(spec.k, spec.k_start or 0) * first

    @classmethod
    def l0_range(cls, spec: Spec) -> tuple[float, float]:
        return (0.0 if spec.exponent else float(spec.k), float(spec.k))  # a steep law loses what its head cannot take

    def forward(self, pre: Float[Tensor, "batch latent"], progress: Float[Tensor, ""] | None = None) -> Out:
        rows = pre.shape[0]
        depth = min(rows, int(self.share_bound * rows) + 2)
        kept = pre.relu().topk(depth, dim=0)
        on = (torch.arange(depth, device=pre.device)[:, None] < self._due(pre, progress)) & (kept.values > 0)
        code = torch.zeros_like(pre).scatter(0, kept.indices, kept.values * on)
        lowest = torch.where(on, kept.values.detach(), torch.inf).amin(0)
        some = lowest.isfinite()
        seen = self.seen + some.to(self.seen.dtype)
        rate = 1 / torch.minimum(seen, self.memory.to(seen.dtype)).clamp(min=1)
        moved = self.threshold + rate * (torch.where(some, lowest, 0.0).to(self.threshold.dtype) - self.threshold)
        return Out(code=code, threshold=torch.where(some, moved, self.threshold), seen=seen)

    def _due(self, pre: Tensor, progress: Tensor | None) -> Float[Tensor, " latent"]:
        """Returns the rows of this batch each latent may keep."""
        rank = torch.arange(1, pre.shape[1] + 1, dtype=torch.float64, device=pre.device)
        sums = ((rank + self.offset) ** -self.exponent).cumsum(0)
        ends = (sums / sums[-1] * (k_at(self, progress) * pre.shape[0]).round()).round()  # 64 bits: a wide SAE has many small shares
        return ends - torch.cat([torch.zeros_like(ends[:1]), ends[:-1]])

    def infer(self, pre: Float[Tensor, "batch latent"]) -> Out:
        return Out(code=pre * ((pre >= self.threshold) & (pre > 0) & (self.seen > 0)))

    def calibrate(self, pre: Float[Tensor, "rows latent"]) -> dict[str, Tensor]:
        if not self.calibrated:
            return {}
        due = self._due(pre, None).long()
        found = pre.relu().sort(dim=0, descending=True).values.gather(0, (due - 1).clamp(0, len(pre) - 1)[None])[0]
        return {"threshold": found, "seen": self.seen * (due > 0)}

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        theta = above(torch.maximum(self.threshold, cutoff))
        # Not infinity: a kernel would make it NaN.
        return jumping(torch.where(self.seen > 0, theta, torch.finfo(theta.dtype).max))
