"""Linear encoder."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class LinearEncoder(Encoder):
    """Projects the activation on one direction per latent: `h = W x + b`."""

    class Spec(StepSpec):
        kind: Literal["linear_encoder"] = "linear_encoder"
        bias: bool = Field(True, description="Learn a bias per latent; gates with biases of their own need none here.")

    paper = Paper(
        title="Towards Monosemanticity", url="https://transformer-circuits.pub/2023/monosemantic-features", where="autoencoder setup"
    )
    exposes = {"weight": Signal.WEIGHT}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.parameter("weight", ("latent", "model"), {"latent": sizes.latent, "model": sizes.model})
        self.bias = None
        if spec.bias:
            del self.bias
            self.parameter("bias", ("latent",), {"latent": sizes.latent})

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * sizes.model * sizes.latent

    def forward(self, x: Float[Tensor, "batch model"]) -> Out:
        return Out(pre=functional.linear(x, self.weight, self.bias))
