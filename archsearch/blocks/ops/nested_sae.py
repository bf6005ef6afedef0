"""A graph as a block."""

from __future__ import annotations

from typing import Literal

from archsearch.blocks.ops._base import Op
from archsearch.blocks.signals import SPACE, Port, Signal, Sizes
from archsearch.spec.block import NestedSpec


class NestedSAE(Op):
    """Stands for a whole SAE inside a graph, with a width of its own.

    Inside it `x` is what the block reads; its outputs are `reconstruction` (main: the block named by `output`, else the last) and `code`.
    The assembler lays the blocks inside out in place, so that `coarse.gate.code` names a signal of the nested graph; nothing is computed
    here.
    """

    class Spec(NestedSpec):
        kind: Literal["sae"] = "sae"

    paper = None
    inputs = {"x": Port(SPACE)}
    outputs = {"reconstruction": Signal.RECONSTRUCTION}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
