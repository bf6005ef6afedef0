"""Residual MLP encoder."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class ResidualMLPEncoder(Encoder):
    """Refines the activation by `num_blocks` residual blocks, then projects it: `x <- x + W2 act(W1 x + b1) + b2`, `h = W x + b`.

    The blocks work in the model's space. Their second weights start at zero, so that at first this is the linear encoder `h = W x + b`,
    and an init that copies the dictionary into its encoder finds `weight`, the last map.

    Differs from the paper: there an MLP encoder has no residual paths. Overcomplete's has them, with a normalisation layer in every block
    and at the end, which are left out here.
    """

    class Spec(StepSpec):
        kind: Literal["residual_mlp_encoder"] = "residual_mlp_encoder"
        num_blocks: int = Field(1, ge=1, description="Residual blocks before the last map (count).")
        hidden: int = Field(256, ge=1, description="Width of each block's hidden layer (count).")
        activation: Literal["relu", "gelu"] = Field("relu", description="Non-linearity of the hidden layers; gelu is the exact one.")

    paper = Paper(
        title="Compute optimal inference and provable amortisation gap in sparse autoencoders",
        url="https://arxiv.org/abs/2411.13117",
        where="section 3.2, MLP encoders; residual as in the MLP encoder of https://github.com/KempnerInstitute/overcomplete",
    )
    exposes = {"weight": Signal.WEIGHT}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        widths = {"model": sizes.model, "hidden": spec.hidden, "latent": sizes.latent}
        self.num_blocks = spec.num_blocks
        for block in range(spec.num_blocks):
            self.parameter(f"inner_weight_{block}", ("hidden", "model"), widths)
            self.parameter(f"inner_bias_{block}", ("hidden",), widths)
            self.parameter(f"outer_weight_{block}", ("model", "hidden"), widths, drawn=False)
            self.parameter(f"outer_bias_{block}", ("model",), widths)
        self.parameter("weight", ("latent", "model"), widths)
        self.parameter("bias", ("latent",), widths)
        self.activation = functional.gelu if spec.activation == "gelu" else functional.relu

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * sizes.model * (2 * spec.num_blocks * spec.hidden + sizes.latent)

    def forward(self, x: Float[Tensor, "batch model"]) -> Out:
        for block in range(self.num_blocks):
            inner = functional.linear(x, getattr(self, f"inner_weight_{block}"), getattr(self, f"inner_bias_{block}"))
            outer = (getattr(self, f"outer_weight_{block}"), getattr(self, f"outer_bias_{block}"))
            x = x + functional.linear(self.activation(inner), *outer)
        return Out(pre=functional.linear(x, self.weight, self.bias))
