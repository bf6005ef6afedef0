"""BatchTopK gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class BatchTopK(Gate):
    """Keeps the `k * batch` largest pre-activations of the batch; at inference, those above a learned threshold.

    State: `threshold`, running mean of the smallest kept value (a plain mean over the first `memory` batches, then exponential); `seen`,
    batches that kept anything so far. Before the first batch the threshold is zero, so inference keeps every positive value.

    Gradient: flows through the kept entries only.

    Differs from the paper: the threshold is a running mean instead of an average over a pass after training.
    """

    class Spec(StepSpec):
        kind: Literal["batch_topk"] = "batch_topk"
        k: int = Field(32, ge=1, description="Latents kept per row, on average over the batch (count).")
        memory: int = Field(100, ge=1, description="Batches the running threshold remembers (count).")

    paper = Paper(title="BatchTopK sparse autoencoders", url="https://arxiv.org/abs/2412.06410", where="section 3, equations 5 to 7")
    sparsity = "k"

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.k_bound = sizes.bound(spec.k)
        self.setting("k", spec.k)
        self.setting("memory", spec.memory)
        self.state("threshold", torch.zeros(()))
        self.state("seen", torch.zeros(()))

    @classmethod
    def l0_range(cls, spec: Spec) -> tuple[float, float]:
        """Returns the least and the most latents a row may have on, as far as settings alone tell."""
        return (float(spec.k), float(spec.k))

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        rows = pre.shape[0]
        kept = pre.relu().flatten().topk(self.k_bound * rows)
        on = (torch.arange(kept.values.numel(), device=pre.device) < self.k * rows) & (kept.values > 0)
        code = torch.zeros_like(pre).flatten().scatter(0, kept.indices, kept.values * on).view_as(pre)
        lowest = torch.where(on, kept.values.detach(), torch.inf).amin()
        some = lowest.isfinite()  # a batch with no positive value leaves the threshold alone
        seen = self.seen + some.to(self.seen.dtype)
        rate = 1 / torch.minimum(seen, self.memory.to(seen.dtype)).clamp(min=1)
        moved = self.threshold + rate * (lowest.to(self.threshold.dtype) - self.threshold)
        return Out(code=code, threshold=torch.where(some, moved, self.threshold), seen=seen)

    def infer(self, pre: Float[Tensor, "batch latent"]) -> Out:
        # `>=`: the smallest kept value is kept; `> 0` guards a threshold that was never learned.
        return Out(code=pre * ((pre >= self.threshold) & (pre > 0)))
