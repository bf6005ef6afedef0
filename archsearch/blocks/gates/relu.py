"""ReLU gate."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._base import Folded, Gate, above, jumping
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Paper, StepSpec


class ReLU(Gate):
    """Keeps positive pre-activations as they are: `f = max(h, 0)`.

    Nothing here makes codes sparse; a penalty (`l1`, `lp`) has to.
    """

    class Spec(StepSpec):
        kind: Literal["relu"] = "relu"

    paper = Paper(
        title="Towards Monosemanticity", url="https://transformer-circuits.pub/2023/monosemantic-features", where="autoencoder setup"
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        return Out(code=pre.relu())

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        return jumping(above(cutoff))
