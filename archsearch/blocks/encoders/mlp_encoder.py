"""MLP encoder."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class MLPEncoder(Encoder):
    """Maps the activation through one hidden layer: `h = W2 act(W1 x + b1) + b2`.

    For a deep residual encoder add its output to a linear encoder's (`{kind: add, from: [linear, deep]}`).
    """

    class Spec(StepSpec):
        kind: Literal["mlp_encoder"] = "mlp_encoder"
        hidden: int = Field(256, ge=1, description="Width of the hidden layer (count).")
        activation: Literal["relu", "gelu"] = Field("relu", description="Non-linearity of the hidden layer; gelu is the exact one.")

    paper = Paper(
        title="Compute optimal inference and provable amortisation gap in sparse autoencoders",
        url="https://arxiv.org/abs/2411.13117",
        where="section 3.2, MLP encoders",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        widths = {"model": sizes.model, "hidden": spec.hidden, "latent": sizes.latent}
        self.parameter("inner_weight", ("hidden", "model"), widths)
        self.parameter("inner_bias", ("hidden",), widths)
        self.parameter("outer_weight", ("latent", "hidden"), widths)
        self.parameter("outer_bias", ("latent",), widths)
        self.activation = functional.gelu if spec.activation == "gelu" else functional.relu

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * spec.hidden * (sizes.model + sizes.latent)

    def forward(self, x: Float[Tensor, "batch model"]) -> Out:
        hidden = self.activation(functional.linear(x, self.inner_weight, self.inner_bias))
        return Out(pre=functional.linear(hidden, self.outer_weight, self.outer_bias))
