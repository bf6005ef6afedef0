"""Sum of signals."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.ops._base import Op
from archsearch.blocks.signals import SPACE, Info, Port, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import StepSpec


class Add(Op):
    """Adds signals of one space: pre-activations, or vectors of the model's space (a reconstruction if any of them is one)."""

    class Spec(StepSpec):
        kind: Literal["add"] = "add"

    paper = None
    inputs = {"terms": Port((*SPACE, Signal.PRE), many=True, levels=True)}
    outputs = {"sum": Signal.RECONSTRUCTION}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        terms = sizes.inputs["terms"]
        types = {info.type for info in terms}
        if len(terms) < 2:
            raise AssemblyError(["add needs at least two signals (`from: [a, b]`)"])
        if Signal.PRE in types and len(types) > 1:
            raise AssemblyError([f"add cannot mix pre-activations with vectors of the model's space; got {sorted(types)}"])
        type = Signal.RECONSTRUCTION if Signal.RECONSTRUCTION in types else terms[0].type
        return {"sum": Info(type, terms[0].size, max(info.levels for info in terms))}

    def forward(self, terms: list[Tensor]) -> Out:
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return Out(sum=total)
