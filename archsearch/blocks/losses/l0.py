"""L0 penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import LossSpec, Paper


class L0(Loss):
    """Counts the latents that are on, and takes the mean over rows: `mean_b sum_i 1[h_i > theta_i]`.

    It reads a gate's `active` signal, which carries a pseudo-gradient to what switches latents. A plain code is refused: counting its
    nonzero entries has no gradient.
    """

    class Spec(LossSpec):
        kind: Literal["l0"] = "l0"

    paper = Paper(
        title="Jumping ahead: improving reconstruction fidelity with JumpReLU sparse autoencoders",
        url="https://arxiv.org/abs/2407.14435",
        where="section 3, the loss",
    )
    sparsity = "weight"
    inputs = {"active": Port((Signal.ACTIVE,), default="active")}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)

    def forward(self, active: Float[Tensor, "batch latent"]) -> Out:
        return Out(loss=wide(active).sum(-1).mean())
