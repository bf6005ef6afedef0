"""TopK gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class TopK(Gate):
    """Keeps the `k` largest pre-activations of every row, clipped at zero.

    Gradient: flows through the kept entries only.
    """

    class Spec(StepSpec):
        kind: Literal["topk"] = "topk"
        k: int = Field(32, ge=1, description="Latents kept per row (count).")

    paper = Paper(title="Scaling and evaluating sparse autoencoders", url="https://arxiv.org/abs/2406.04093", where="section 2.3")
    sparsity = "k"

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.k_bound = sizes.bound(spec.k)  # static, shared by the group; members differ in k below it
        self.setting("k", spec.k)

    @classmethod
    def l0_range(cls, spec: Spec) -> tuple[float, float]:
        """Returns the least and the most latents a row may have on, as far as settings alone tell."""
        return (float(spec.k), float(spec.k))

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        kept = pre.topk(self.k_bound, dim=-1)
        values = kept.values.relu() * (torch.arange(self.k_bound, device=pre.device) < self.k)
        return Out(code=torch.zeros_like(pre).scatter(-1, kept.indices, values))
