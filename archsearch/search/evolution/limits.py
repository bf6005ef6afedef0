"""What every proposal keeps to: legal at every L0 of the sweep, no dearer than the space's own SAEs, and no run that there was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.assembler.splices import source_problems
from archsearch.blocks._block import Block
from archsearch.blocks.catalogue import Catalogue
from archsearch.errors import InvalidInput
from archsearch.search.evolution.documents import Document, readings
from archsearch.search.evolution.parent import Parent, parent_of
from archsearch.spec.hashes import digest
from archsearch.spec.space import TARGET

ROOM = 1.5
"""Blocks and terms of the loss a child may have, as a factor of the most that an SAE of the space has: graphs grow, but not for ever."""


@dataclass(frozen=True)
class Size:
    """What an SAE costs: FLOPs per token, parameters, and blocks with the terms of its loss."""

    flops: int = 0
    parameters: int = 0
    blocks: int = 0

    @staticmethod
    def of(assembly: Assembly) -> Size:
        """Returns the size of an assembled SAE."""
        receipt = assembly.receipt
        return Size(receipt.flops, receipt.parameters, len(receipt.blocks))

    def joined(self, other: Size) -> Size:
        """Returns the larger of two in each number."""
        return Size(max(self.flops, other.flops), max(self.parameters, other.parameters), max(self.blocks, other.blocks))

    def holds(self, other: Size) -> bool:
        """Tells whether another is no larger in any number, blocks as far as `ROOM` goes."""
        return other.flops <= self.flops and other.parameters <= self.parameters and other.blocks <= ROOM * self.blocks


@dataclass(frozen=True)
class Limits:
    """`levels`: L0s of the sweep, the highest first: what works by turns costs most there; `source`: where the activations come from."""

    model: int
    levels: tuple[float, ...]
    source: Any
    blocks: Catalogue

    def built(self, document: Document, level: float | None = None) -> Assembly:
        """Returns an assembled SAE at an L0, the highest of the sweep by default.

        Raises:
            InvalidInput: it is not legal there.
        """
        spec = parse({**document, TARGET: self.levels[0] if level is None else level}, self.blocks)
        assembly = assemble(spec, model=self.model, device="meta", blocks=self.blocks)
        if problems := source_problems(assembly.graph, self.source):
            raise InvalidInput(problems)
        return assembly

    def legal(self, document: Document, seen: frozenset[str], most: Size | None = None) -> Parent | None:
        """Returns a document written out; None where it is not legal at every L0, larger than `most`, or at one of them a run of `seen`.

        With `most`, for children, no port may read one signal twice, and no op that starts as zero may stand in the way of rows rather than
        beside them: `x - x` and a zero are legal and of no use.
        """
        try:
            highest = self.built(document)
            found = parent_of(-1, highest, self.blocks)
            if most is not None and (not most.holds(Size.of(highest)) or _doubled(found.document) or _blocked(highest)):
                return None
            others = (self.built(found.document, level) for level in self.levels[1:])
            known = any(key_of(each.receipt.arch, resolved(each, self.blocks)) in seen for each in (highest, *others))
        except InvalidInput:
            return None
        return None if known else found


def _doubled(document: Document) -> bool:
    read = [(reading.reader, reading.port, reading.signal) for reading in readings(document)]
    return len({*read}) < len(read)


def _blocked(assembly: Assembly) -> bool:
    """Tells whether a port reads nothing but an op with a matrix of its own that is not drawn but starts as zero."""
    nodes = assembly.graph.nodes
    zero = {
        f"{label}.{next(iter(node.outputs))}" for label, node in nodes.items() if node.slot == "op" and _zero(assembly.sae.block(label))
    }
    alone = (wires[0].signal for node in nodes.values() for wires in node.wires.values() if len(wires) == 1)
    return bool(zero.intersection([*alone, *assembly.graph.outputs.values()]))


def _zero(block: Block) -> bool:
    return any(len(block.axes[name]) > 1 and not block.fills[name] for name in block.undrawn)


KEYS = ("init", "revival", "scale", "training", "controller", "calibration")
"""What makes a run what it is beside its architecture."""


def key_of(arch: str, spec: Mapping[str, Any]) -> str:
    """Returns what two trials of a study have in common only if they are the same run."""
    return digest({"arch": arch, **{name: spec.get(name) for name in KEYS}})
