"""Difference of two signals."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.ops._base import Op
from archsearch.blocks.signals import SPACE, Info, Port, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import StepSpec


class Subtract(Op):
    """Takes the second signal from the first: `from: [x, coarse.reconstruction]` is what the coarse stage left over."""

    class Spec(StepSpec):
        kind: Literal["subtract"] = "subtract"

    paper = None
    inputs = {"terms": Port(SPACE, many=True)}
    outputs = {"difference": Signal.ACTIVATION}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        if len(sizes.inputs["terms"]) != 2:
            raise AssemblyError([f"subtract needs exactly two signals (`from: [a, b]`); got {len(sizes.inputs['terms'])}"])
        return super().produces(spec, sizes)

    def forward(self, terms: list[Tensor]) -> Out:
        first, second = terms
        return Out(difference=first - second)
