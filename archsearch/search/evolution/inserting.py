"""Puts a block on a wire, with another one beside it where it needs a second signal."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from archsearch.blocks.signals import Info, Port, Signal, Sizes
from archsearch.errors import InvalidInput
from archsearch.search.evolution.change import Change, shuffled
from archsearch.search.evolution.documents import (
    TERM,
    Entry,
    Reading,
    dotted,
    entry_at,
    free_label,
    owner,
    prefix_of,
    wire_to,
    with_entry,
)
from archsearch.search.evolution.material import Material
from archsearch.search.evolution.parent import TASK, Made, Parent, fits, led_to, made, port_at

BETWEEN = ("op", "encoder", "level")
"""Slots of the blocks that may be put on a wire."""

BESIDE = ("encoder", "gate", "level", "op")
"""Slots of the blocks that may give a second signal to one that is."""


class _New(NamedTuple):
    """A block that is not in the graph yet."""

    made: Made
    settings: Entry


class _Source(NamedTuple):
    """What a port of a new block reads: a signal that is there, or the main output of another new block that reads it through `port`."""

    signal: str
    info: Info
    block: _New | None = None
    port: str = ""


Sources = dict[str, list[_Source]]


def insertions(parent: Parent, mate: Parent | None, material: Material, draw: random.Random) -> Iterator[Change]:
    """Yields a parent with one more block on a wire that carries rows, of any kind whose ports fit there.

    A block that needs a second signal (a sum, a step of refinement) reads one that is there, or that of a new block beside it: an encoder
    parallel to the one that is there, a first gate, a skip path. None is put next to one of its own kind. Terms of the loss that the space
    or a recipe shows are added as well.
    """
    pairs = [*_places(parent, material), *_terms(parent, material)]
    for wire, kind in shuffled(pairs, draw, [material.weight(kind) for _, kind in pairs]):
        if wire is None:
            label = free_label(parent.document, f"{TERM}term")
            entry = {"kind": kind, **draw.choice(material.settings_beside(kind, mate)), "from": {}}
            yield Change(f"insert {dotted(label)} ({kind})", with_entry(parent.document, label, entry))
            continue
        spot = _Spot(parent, mate, wire, material, draw)
        new = spot.new(kind)
        sources = spot.sources(new) if new is not None else None
        if new is not None and sources is not None:
            yield spot.change(new, sources)


def _places(parent: Parent, material: Material) -> Iterator[tuple[Reading, str]]:
    """Yields every wire with every kind that may be put on it, if it fits there."""
    for wire in parent.wires():
        near = {entry_at(parent.document, label)["kind"] for label in (owner(wire.signal), wire.reader) if label in parent.mains}
        if port_at(parent, wire, material.blocks).default not in TASK:
            yield from ((wire, kind) for kind in material.kinds(*BETWEEN) if kind not in near)


def _terms(parent: Parent, material: Material) -> Iterator[tuple[None, str]]:
    """Yields the kinds of terms that the loss does not have."""
    here = {entry["kind"] for entry in parent.document["losses"].values()}
    yield from ((None, kind) for kind in sorted(material.terms) if kind not in here)


@dataclass(frozen=True)
class _Spot:
    """A wire of a parent, on which a block is put."""

    parent: Parent
    mate: Parent | None
    wire: Reading
    material: Material
    draw: random.Random

    def new(self, kind: str) -> _New | None:
        """Returns a block of some kind, in drawn settings."""
        settings = self.draw.choice(self.material.settings_beside(kind, self.mate))
        block = made(kind, settings, self.material.blocks)
        return _New(block, settings) if block is not None else None

    def sources(self, new: _New) -> Sources | None:
        """Returns what each port of a new block reads; None where it does not fit on the wire."""
        info, ports = self.parent.infos[self.wire.signal], new.made.ports
        taking = next((port for port, rule in ports.items() if fits(rule, info)), None)
        if taking is None:
            return None
        found = {taking: [_Source(self.wire.signal, info)]}
        for port in _needed(new):
            if port != taking:
                found[port] = self._seconds(ports[port])[:1]
        ways = [found]
        if ports[taking].many and self._output(new, found) is None:
            ways = [{**found, taking: [*found[taking], second]} for second in self._seconds(ports[taking])]
        end = port_at(self.parent, self.wire, self.material.blocks)
        return next((way for way in ways if (out := self._output(new, way)) is not None and fits(end, out)), None)

    def _seconds(self, rule: Port) -> list[_Source]:
        """Returns every source of a second signal, in a drawn order."""
        infos, seen = self.parent.infos, self.parent.visible(self.wire.reader)
        there = [_Source(signal, infos[signal]) for signal in self._others(seen) if fits(rule, infos[signal])]
        behind = (wire.signal for wire in self.parent.wires() if wire.reader and wire.reader == owner(self.wire.signal))
        near = list(dict.fromkeys([self.wire.signal, *(signal for signal in behind if signal in seen)]))
        new = [self.new(kind) for kind in self.material.kinds(*BESIDE)]
        beside = [source for block in new if block is not None for source in self._beside(block, near) if fits(rule, source.info)]
        return shuffled([*there, *beside], self.draw)

    def _others(self, seen: list[str]) -> Iterator[str]:
        """Yields the other signals that carry rows and can be read before the wire's end."""
        rows = (signal for signal in seen if signal != self.wire.signal and self.parent.flows(signal))
        yield from (signal for signal in rows if not self.wire.reader or self.wire.reader not in self.parent.before(signal))

    def _beside(self, new: _New, near: list[str]) -> Iterator[_Source]:
        """Yields a new block by each signal near the wire that its one port could read: the wire's own, and those behind it."""
        needed = _needed(new)
        for signal in near if len(needed) == 1 else ():
            info = self.parent.infos[signal]
            out = self._output(new, {needed[0]: [_Source(signal, info)]}) if fits(new.made.ports[needed[0]], info) else None
            if out is not None:
                yield _Source(signal, out, new, needed[0])

    def _output(self, new: _New, sources: Sources) -> Info | None:
        """Returns type, width and levels of a new block's main output; None where it cannot be made from these."""
        if not all(sources.values()):
            return None
        read = {port: tuple(source.info for source in found) for port, found in sources.items()}
        latents = [info.size for infos in read.values() for info in infos if info.type in (Signal.PRE, Signal.CODE, Signal.ACTIVE)]
        outer = owner(self.wire.reader)
        width = (entry_at(self.parent.document, outer) if outer else self.parent.document)["width"]
        latent = width if new.made.block.slot == "encoder" or not latents else latents[0]
        try:
            return next(iter(new.made.block.produces(new.made.spec, Sizes(self.parent.model, latent, read)).values()))
        except InvalidInput:
            return None

    def change(self, new: _New, sources: Sources) -> Change:
        """Returns the parent with a new block on the wire, and those beside it."""
        document, prefix = self.parent.document, prefix_of(self.wire.reader)
        wires: dict[str, list[Entry]] = {}
        kinds = [new.made.block.kind()]
        for port, found in sources.items():
            for source in found:
                signal = source.signal
                if source.block is not None:
                    label = free_label(document, f"{prefix}{_name(source.block)}")
                    document = with_entry(document, label, _entry(source.block, {source.port: [wire_to(label, signal)]}), self.wire.reader)
                    signal = f"{label}.{next(iter(source.block.made.gives))}"
                    kinds.append(source.block.made.block.kind())
                wires.setdefault(port, []).append(wire_to(self.wire.reader, signal))
        label = free_label(document, f"{prefix}{_name(new)}")
        document = with_entry(document, label, _entry(new, wires), self.wire.reader)
        document = led_to(document, self.wire, f"{label}.{next(iter(new.made.gives))}", self.material.blocks)
        end = f"{self.wire.reader}.{self.wire.port}" if self.wire.reader else f"the output {self.wire.port}"
        return Change(f"insert {' and '.join(kinds)}: {self.wire.signal} -> {end}", document)


def _needed(new: _New) -> list[str]:
    """Returns the ports of a block that its position would have to fill: the others find what they read, or do without."""
    return [port for port, rule in new.made.ports.items() if rule.default == "previous" and not rule.optional]


def _name(new: _New) -> str:
    """Returns what the label of a new block is made from: its slot, since another kind may take its place; of ops, which stay, the kind."""
    return new.made.block.kind() if new.made.block.slot == "op" else new.made.block.slot


def _entry(new: _New, wires: dict[str, list[Entry]]) -> Entry:
    return {"kind": new.made.block.kind(), **new.settings, "from": wires}
