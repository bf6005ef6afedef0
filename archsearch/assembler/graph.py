"""A wired graph: what the assembler knows of a spec before it builds any module."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from archsearch.assembler.scopes import Item
from archsearch.blocks.signals import Info, Signal, Sizes


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
    def main(self) -> str:
        """The main port: the first its block has."""
        return next(iter(self.many))

    def sort_wires(self) -> None:
        """Puts wires in the order of the block's ports, so that nothing depends on the order they were written in."""
        self.wires = {port: self.wires[port] for port in self.many if port in self.wires}

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

    def plain(self) -> dict[str, Any]:
        """Returns what a hash sees of the block: kind, settings that are not defaults, width where it chooses one, wires."""
        settings = settings_of(self.spec)
        kind = settings.pop("kind")
        if self.slot == "encoder":
            settings["width"] = self.sizes.latent
        inputs = {port: [(wire.signal, wire.detach) for wire in wires] for port, wires in self.wires.items()}
        return {"kind": kind, "settings": settings, "inputs": inputs}


def settings_of(spec: Any) -> dict[str, Any]:
    """Returns the kind of a block and its settings that are not defaults, without wires."""
    written = spec.model_dump(by_alias=True, exclude_defaults=True, exclude={"from_", "of"})
    return {**written, "kind": spec.kind}


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
    """Everything wired and checked: nodes in an order they can run in, outputs by target, dictionaries.

    Nodes and dictionaries stand in an order that the graph alone decides, so that weights drawn one after another do not depend on labels
    or on the order of a file.

    `infos`: every signal; `aliases`: parameter signals that are another block's; `dense_rank`: rank of what flows from the inputs to the
    outputs past every code; `targets`: those each decoder's reconstruction flows into, by its label.
    """

    nodes: dict[str, Node]
    outputs: dict[str, str]
    dictionaries: list[Dictionary]
    infos: dict[str, Info]
    aliases: dict[str, str]
    dense_rank: int
    model: int
    targets: dict[str, tuple[str, ...]]

    @property
    def losses(self) -> list[str]:
        """Every signal added up to the loss."""
        return [f"{label}.{name}" for label, node in self.nodes.items() for name, info in node.outputs.items() if info.type is Signal.LOSS]

    @property
    def width(self) -> int:
        """Latents of all dictionaries together."""
        return sum(dictionary.width for dictionary in self.dictionaries)
