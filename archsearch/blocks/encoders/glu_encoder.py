"""Gated linear unit encoder."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Signal, Sizes
from archsearch.spec.block import Paper, StepSpec


class GLUEncoder(Encoder):
    """Scales every latent's projection by a second one of its own: `h = (W x + b) * sigmoid(V x + c)`.

    The factor lies between 0 and 1 and leaves the sign alone. `V` and `c` start at zero, so that at first every factor is 1/2 and this is
    half a linear encoder: drawn at random, `V` would blur directions that the init has just tied to the dictionary.

    Differs from the source: there `V` starts random.
    """

    class Spec(StepSpec):
        kind: Literal["glu_encoder"] = "glu_encoder"

    paper = Paper(
        title="Language-Model-SAEs",
        url="https://github.com/OpenMOSS/Language-Model-SAEs",
        where="sparse autoencoder with `use_glu_encoder`",
    )
    exposes = {"weight": Signal.WEIGHT}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        widths = {"latent": sizes.latent, "model": sizes.model}
        self.parameter("weight", ("latent", "model"), widths)
        self.parameter("bias", ("latent",), widths)
        self.parameter("gate_weight", ("latent", "model"), widths, drawn=False)
        self.parameter("gate_bias", ("latent",), widths)

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * 2 * sizes.model * sizes.latent

    def forward(self, x: Float[Tensor, "batch model"]) -> Out:
        opening = functional.linear(x, self.gate_weight, self.gate_bias).sigmoid()
        return Out(pre=functional.linear(x, self.weight, self.bias) * opening)
