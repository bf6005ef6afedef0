"""What a child is made from: a written-out document, and what its assembly tells of the signals in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from archsearch.assembler.build import Assembly
from archsearch.assembler.resolved import resolved
from archsearch.blocks.catalogue import Catalogue
from archsearch.blocks.signals import PARAMETERS, SPACE, Info, Port, Signal
from archsearch.search.evolution.documents import (
    TERM,
    Document,
    Entry,
    Reading,
    entries,
    entry_at,
    owner,
    prefix_of,
    pruned,
    readings,
    rewired,
    with_entry,
    with_signals,
)
from archsearch.spec.block import NestedSpec
from archsearch.spec.space import TARGET

OUTPUT = Port(SPACE, levels=True)
"""What a target's output may be."""

TASK = ("target", "output", "outputs")
"""Defaults of ports that say what is to be rebuilt and what of: the task, which no change of a design touches."""


@dataclass(frozen=True)
class Parent:
    """A structure to change.

    `ask`: where it comes from; `document`: all of it written out, without an L0 to reach; `infos`: type, width and levels of every signal;
    `mains`: main signal of every block; `decoders`: a decoder of every gate that speaks for a dictionary; `model`: width of activations.
    """

    ask: int
    document: Document
    infos: Mapping[str, Info]
    mains: Mapping[str, str]
    decoders: Mapping[str, str]
    model: int

    def wires(self) -> Iterator[Reading]:
        """Yields every wire that carries rows, the outputs' among them (with no reader, their target for a port); no loss's."""
        yield from (reading for reading in readings(self.document, terms=False) if self.flows(reading.signal))
        yield from (Reading("", target, 0, signal) for target, signal in self.document["outputs"].items())

    def flows(self, signal: str) -> bool:
        """Tells whether a signal carries rows, rather than parameters or counts."""
        return signal in self.infos and self.infos[signal].type not in (*PARAMETERS, Signal.IDLE, Signal.LOSS)

    def child(self, document: Document) -> Document:
        """Returns a changed document of this parent without what nothing reads any more."""
        return pruned(document, self.document, lambda signal: self.flows(signal) or signal not in self.infos)

    def visible(self, label: str) -> list[str]:
        """Returns every signal that the block with a label may name, sorted."""
        prefix = prefix_of(label)
        inputs = [f"{prefix}x"] if prefix else self.document["inputs"]
        inside = {f"{other}.x" for other, entry in entries(self.document, terms=False) if "graph" in entry}  # what a nested graph reads
        there = (name for name in self.infos if owner(name) and prefix_of(owner(name)) == prefix and name not in inside)
        return sorted({*inputs, *there})

    def before(self, signal: str) -> set[str]:
        """Returns the blocks that must have run before there is a signal, nested graphs by what is in them."""
        reads: dict[str, list[str]] = {}
        for reading in self.wires():
            reads.setdefault(reading.reader, []).append(reading.signal)
        nested = {label: f"{label}.{entry['output']}" for label, entry in entries(self.document, terms=False) if "graph" in entry}
        found: set[str] = set()
        waiting = [signal] if self.flows(signal) else []
        while waiting:
            label, _, output = waiting.pop().rpartition(".")
            if label in nested:
                waiting += reads[label] if output == "x" else [self.mains[nested[label]]]
            elif label in self.mains and label not in found:  # an input may bear the dotted name of a hook point
                found.add(label)
                waiting += reads.get(label, [])
        return found


def parent_of(ask: int, assembly: Assembly, blocks: Catalogue) -> Parent:
    """Returns the parent that an assembled SAE is."""
    graph = assembly.graph
    infos = {_dotted(name): info for name, info in graph.infos.items()}
    mains = {_dotted(label): _dotted(f"{label}.{next(iter(node.item.block.gives(node.spec)), '')}") for label, node in graph.nodes.items()}
    document = resolved(assembly, blocks)
    nested = [(label, entry) for label, entry in entries(document, terms=False) if "graph" in entry]
    for label, entry in reversed(nested):  # the innermost first: a nested graph may end in another
        infos[f"{label}.reconstruction"] = infos[mains[f"{label}.{entry['output']}"]]
        mains[label] = f"{label}.reconstruction"
    document = with_signals(document, lambda signal: _dotted(mains.get(signal, signal)))
    for label, entry in nested:
        read = f"{prefix_of(label)}{next(iter(entry['from'].values()))[0]['signal']}"
        infos[f"{label}.x"] = infos[mains.get(read, read)]
    decoders = {_dotted(dictionary.name): _dotted(dictionary.decoders[0]) for dictionary in graph.dictionaries}
    return Parent(ask, _unsteered(document, blocks), infos, mains, decoders, graph.model)


def _dotted(name: str) -> str:
    return name if name.startswith(TERM) else name.replace("/", ".")


def _unsteered(document: Document, blocks: Catalogue) -> Document:
    """Returns a document without the L0 that is to be reached, and without a controller that the L0 alone called for.

    A controller with settings of its own stays where a gate keeps no count; its child is to be steered the same way.
    """
    found = {name: value for name, value in document.items() if name != TARGET}
    controller = document["controller"]
    if controller is not None:
        block = blocks[controller["kind"]]
        plain = {**block.Spec.model_validate({}).model_dump(mode="json"), block.l0_setting: controller[block.l0_setting]}
        counted = all(blocks[entry["kind"]].l0_setting for _, entry in entries(document, terms=False) if _is_gate(entry, blocks))
        found["controller"] = None if counted or plain == controller else controller
    return found


def _is_gate(entry: Entry, blocks: Catalogue) -> bool:
    return blocks[entry["kind"]].slot == "gate"


def settings_in(entry: Entry) -> Entry:
    """Returns a block's settings, kind and wires left out."""
    return {name: value for name, value in entry.items() if name not in ("kind", "from", "of")}


@dataclass(frozen=True)
class Made:
    """A block of some kind and settings, not wired yet."""

    block: Any
    spec: Any

    @property
    def ports(self) -> dict[str, Port]:
        """Its ports by name, the main one first."""
        return self.block.ports(self.spec)

    @property
    def gives(self) -> dict[str, Signal]:
        """Its outputs by name, the main one first."""
        return self.block.gives(self.spec)

    @property
    def named(self) -> set[str]:
        """Names of all that others may read of it: outputs, parameters, and a gate's counts of idle latents."""
        return {*self.gives, *self.block.shared(self.spec), *(["idle"] if self.block.slot == "gate" else [])}


def made(kind: str, settings: Entry, blocks: Catalogue) -> Made | None:
    """Returns a block with settings, or None where it does not take them."""
    try:
        return Made(blocks[kind], blocks[kind].Spec.model_validate(settings))
    except ValidationError:
        return None


def port_at(parent: Parent, reading: Reading, blocks: Catalogue) -> Port:
    """Returns the port that a wire of a parent ends in."""
    if not reading.reader:
        return OUTPUT
    entry = entry_at(parent.document, reading.reader)
    block = made(entry["kind"], settings_in(entry), blocks)
    assert block is not None, f"{reading.reader} stands in a legal document"
    return block.ports[reading.port]


def led_to(document: Document, reading: Reading, signal: str, blocks: Catalogue) -> Document:
    """Returns a document in which one wire reads another signal; terms of the loss follow an output to where it comes from then."""
    found = rewired(document, reading, signal)
    for label, term in found["losses"].items() if not reading.reader else ():
        block = made(term["kind"], settings_in(term), blocks)
        rules = block.ports if block is not None else {}
        kept = {
            port: read
            for port, read in term["from"].items()
            if rules[port].default not in TASK or all(wire["signal"] != reading.signal for wire in read)
        }
        found = with_entry(found, f"{TERM}{label}", {**term, "from": kept})
    return found


def is_nested(kind: str, blocks: Catalogue) -> bool:
    """Tells whether a kind is a graph of its own."""
    return issubclass(blocks[kind].Spec, NestedSpec)


def fits(port: Port, info: Info) -> bool:
    """Tells whether a port takes a signal, by its type and its levels."""
    return info.type in port.types and (not info.levels or port.levels)
