"""BatchTopK gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._largest import largest
from archsearch.blocks._ramps import KSpec, k_at
from archsearch.blocks._thresholds import threshold_keeping
from archsearch.blocks.gates._base import Folded, above, jumping
from archsearch.blocks.gates._keeping import Keeping
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, refuse_unused


class BatchTopK(Keeping):
    """Keeps the `k * batch` largest pre-activations of the batch; at inference, those above a learned threshold.

    With `k_start` the count goes from `k_start` to `k` over the first `anneal_frac` of the run, rounded to whole latents of the batch.

    State: `threshold`, running mean of the smallest kept value (a plain mean over the first `memory` batches, then exponential); `seen`,
    batches that kept anything so far. Before the first batch the threshold is zero, so inference keeps every positive value.
    `inference: calibrated` sets the threshold once more, at the end of the run, so that rows of the calibrate split keep `k` latents on
    average; until then it is the running one.

    Gradient: flows through the kept entries only.

    Differs from the paper: by default the threshold is a running mean instead of an average over a pass after training; calibrated, it
    gives the wanted number of latents, which an average of smallest kept values need not.
    """

    class Spec(KSpec):
        kind: Literal["batch_topk"] = "batch_topk"
        k: int = Field(32, ge=1, description="Latents kept per row, on average over the batch (count).")
        memory: int = Field(100, ge=1, description="Batches the running threshold remembers (count).")
        inference: Literal["running", "calibrated"] = Field(
            "running", description="Threshold at inference: as it was left by training, or set at the end to keep k latents."
        )

        @model_validator(mode="after")
        def _acting(self) -> BatchTopK.Spec:
            return self if self.inference == "running" else refuse_unused(self, ("memory",), "inference: calibrated")

    paper = Paper(title="BatchTopK sparse autoencoders", url="https://arxiv.org/abs/2412.06410", where="section 3, equations 5 to 7")

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("memory", spec.memory)
        self.state("threshold", torch.zeros(()))
        self.state("seen", torch.zeros(()))

    def forward(self, pre: Float[Tensor, "batch latent"], progress: Float[Tensor, ""] | None = None) -> Out:
        rows = pre.shape[0]
        budget = (k_at(self, progress) * rows).round()
        on = largest(pre.flatten(), budget, self.k_bound * rows).view_as(pre)
        code = pre.relu() * on
        lowest = torch.where(code > 0, code.detach(), torch.inf).amin()
        some = lowest.isfinite()  # a batch with no positive value leaves the threshold alone
        seen = self.seen + some.to(self.seen.dtype)
        rate = 1 / torch.minimum(seen, self.memory.to(seen.dtype)).clamp(min=1)
        moved = self.threshold + rate * (lowest.to(self.threshold.dtype) - self.threshold)
        return Out(code=code, threshold=torch.where(some, moved, self.threshold), seen=seen)

    def infer(self, pre: Float[Tensor, "batch latent"]) -> Out:
        # `>=`: the smallest kept value is kept; `> 0` guards a threshold that was never learned.
        return Out(code=pre * ((pre >= self.threshold) & (pre > 0)))

    def calibrate(self, pre: Float[Tensor, "rows latent"]) -> dict[str, Tensor]:
        return {"threshold": threshold_keeping(pre, self.k)} if self.calibrated else {}

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        return jumping(above(torch.maximum(self.threshold, cutoff)))
