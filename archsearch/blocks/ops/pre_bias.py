"""Pre-encoder bias."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.ops._base import Op
from archsearch.blocks.signals import SPACE, Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class PreBias(Op):
    """Subtracts a bias from the activation, by default the very bias the decoder adds: `x - b_dec`.

    Without a decoder bias to share, or with `shared: false`, the bias is a parameter of its own.
    """

    class Spec(StepSpec):
        kind: Literal["pre_bias"] = "pre_bias"
        shared: bool = Field(True, description="Use the decoder's bias where it has one; otherwise learn another.")

    paper = Paper(
        title="Towards Monosemanticity", url="https://transformer-circuits.pub/2023/monosemantic-features", where="autoencoder setup"
    )
    inputs = {"x": Port(SPACE), "bias": Port((Signal.BIAS,), default="dictionary", optional=True)}
    outputs = {"x": Signal.ACTIVATION}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        if not sizes.wired("bias"):
            self.parameter("own_bias", ("model",), {"model": sizes.model})

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.shared else {"x": cls.inputs["x"]}

    def forward(self, x: Float[Tensor, "batch model"], bias: Float[Tensor, " model"] | None = None) -> Out:
        return Out(x=x - (self.own_bias if bias is None else bias))
