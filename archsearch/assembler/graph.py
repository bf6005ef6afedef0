"""A wired graph: what the assembler knows of a spec before it builds any module."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from archsearch.assembler.scopes import Item
from archsearch.blocks.signals import Info, Sizes


@dataclass(frozen=True)
class ResolvedWire:
    """One wire: the signal's flat name (`gate.code`, or an input's name), its name as written in the block's scope, and detachment."""

    signal: str
    local: str
    detach: bool


@dataclass
class Node:
    """One block with its wires resolved; `sizes` and `outputs` are filled in once the inputs are known."""

    item: Item
    wires: dict[str, list[ResolvedWire]]
    many: dict[str, bool]
    sizes: Sizes = field(default_factory=lambda: Sizes(0, 0))
    outputs: dict[str, Info] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The flat label."""
        return self.item.label

    @property
    def spec(self) -> Any:
        """The block's settings."""
        return self.item.spec

    @property
    def slot(self) -> str:
        """The block's slot."""
        return self.item.block.slot


@dataclass(frozen=True)
class Dictionary:
    """A code with the decoders that read it and the blocks that make it.

    `code`: signal before any level axis; `name`: label of the gate; `path`: labels between the model's space and the code.
    """

    name: str
    code: str
    decoders: tuple[str, ...]
    path: tuple[str, ...]
    width: int


@dataclass
class Graph:
    """Everything wired and checked: nodes in an order they can run in, outputs by target, dictionaries in the spec's order.

    `infos`: every signal; `aliases`: parameter signals that are another block's; `dense_rank`: rank of what flows from the inputs to the
    outputs past every code.
    """

    nodes: dict[str, Node]
    outputs: dict[str, str]
    dictionaries: list[Dictionary]
    infos: dict[str, Info]
    aliases: dict[str, str]
    dense_rank: int
    model: int

    @property
    def width(self) -> int:
        """Latents of all dictionaries together."""
        return sum(dictionary.width for dictionary in self.dictionaries)
