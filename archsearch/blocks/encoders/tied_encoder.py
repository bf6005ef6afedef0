"""Tied encoder."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class TiedEncoder(Encoder):
    """Projects the activation on the rows of the dictionary: `h = D x + b`, with no rows of its own.

    The decoder keeps the rows and their norm. (A decoder may read an encoder's rows instead, with `norm: free`; then nothing keeps their
    norm.) What greedy gates read is exact this way: `h_j` is the inner product of the activation with row `j`.

    Gradient: the rows get that of both their uses; a detached wire (`from: {weight: {signal: decoder.dictionary, detach: true}}`) leaves
    the decoder's alone.
    """

    class Spec(StepSpec):
        kind: Literal["tied_encoder"] = "tied_encoder"
        bias: bool = Field(True, description="Learn a bias per latent; gates with biases of their own, and greedy ones, need none here.")

    paper = Paper(
        title="Sparse autoencoders find highly interpretable features in language models",
        url="https://arxiv.org/abs/2309.08600",
        where="section 2: tied encoder and decoder weights",
    )
    inputs = {**Encoder.inputs, "weight": Port((Signal.DICTIONARY, Signal.WEIGHT), default="dictionary")}
    exposes = {"weight": Signal.WEIGHT}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.bias = None
        if spec.bias:
            del self.bias
            self.parameter("bias", ("latent",), {"latent": sizes.latent})

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * sizes.model * sizes.latent

    def forward(self, x: Float[Tensor, "batch model"], weight: Float[Tensor, "latent model"]) -> Out:
        return Out(pre=functional.linear(x, weight, self.bias))
