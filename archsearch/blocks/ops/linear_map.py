"""Linear map of the model's space."""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks.ops._base import Op
from archsearch.blocks.signals import SPACE, Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class LinearMap(Op):
    """Maps the model's space to itself: `y = A x`, or `y = U V x` through a bottleneck of `bottleneck` dimensions.

    It starts as zero, so a skip path (`{kind: add, from: [decoder, skip]}`) changes nothing at first. What reaches the output this way
    passes no code: its rank is charged to effective L0.
    """

    class Spec(StepSpec):
        kind: Literal["linear_map"] = "linear_map"
        bottleneck: int | None = Field(None, ge=1, description="Dimensions the map passes through (count); null: all of them.")

    paper = Paper(
        title="Transcoders beat sparse autoencoders for interpretability",
        url="https://arxiv.org/abs/2501.18823",
        where="section 2, skip transcoders",
    )
    inputs = {"x": Port(SPACE)}
    outputs = {"y": Signal.ACTIVATION}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        widths = {"model": sizes.model, "bottleneck": min(spec.bottleneck or sizes.model, sizes.model)}
        self.narrow = spec.bottleneck is not None
        if self.narrow:
            self.parameter("down", ("bottleneck", "model"), widths)
            self.parameter("up", ("model", "bottleneck"), widths, drawn=False)
        else:
            self.parameter("matrix", ("model", "model"), widths, drawn=False)

    @classmethod
    def rank(cls, spec: Any, ranks: list[int], sizes: Sizes) -> int:
        return min(sum(ranks), spec.bottleneck or sizes.model)

    @classmethod
    def flops(cls, spec: Any, sizes: Sizes) -> int:
        return 2 * sizes.model * (2 * min(spec.bottleneck, sizes.model) if spec.bottleneck else sizes.model)

    def forward(self, x: Float[Tensor, "batch model"]) -> Out:
        if self.narrow:
            return Out(y=functional.linear(functional.linear(x, self.down), self.up))
        return Out(y=functional.linear(x, self.matrix))
