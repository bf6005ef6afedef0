"""Has a block read another signal."""

from __future__ import annotations

import random
from collections.abc import Iterator

from archsearch.blocks.signals import Port
from archsearch.search.evolution.change import Change, shuffled
from archsearch.search.evolution.documents import Reading, dotted, entries, owner, readings
from archsearch.search.evolution.material import Material
from archsearch.search.evolution.parent import OUTPUT, TASK, Parent, fits, led_to, made, settings_in


def rewirings(parent: Parent, mate: Parent | None, material: Material, draw: random.Random) -> Iterator[Change]:
    """Yields a parent with one wire that comes from elsewhere, or one more wire into a port that may do without any.

    Only signals of the port's type that are there before the block runs, and no port that says what is to be rebuilt. What nothing reads
    any more is taken out.
    """
    for wire, signal in shuffled(list(_pairs(parent, material)), draw):
        late = parent.flows(signal) and wire.reader in parent.before(signal)
        if not late:
            end = f"{dotted(wire.reader)}.{wire.port}" if wire.reader else f"the output {wire.port}"
            how = f"wire {end}: {wire.signal or 'nothing'} -> {signal}"
            yield Change(how, parent.child(led_to(parent.document, wire, signal, material.blocks)))


def _pairs(parent: Parent, material: Material) -> Iterator[tuple[Reading, str]]:
    """Yields every wire with every other signal that its port takes."""
    for wire, rule in _ports(parent, material):
        for signal in parent.visible(wire.reader):
            own = wire.reader and owner(signal) == wire.reader
            past = not wire.reader and not {*parent.decoders} & parent.before(signal)  # an output that no code has a part in
            if signal != wire.signal and fits(rule, parent.infos[signal]) and not own and not past:
                yield wire, signal


def _ports(parent: Parent, material: Material) -> Iterator[tuple[Reading, Port]]:
    """Yields every wire with the port it ends in, and an empty one (no signal) for every port that does without."""
    yield from ((Reading("", target, 0, signal), OUTPUT) for target, signal in parent.document["outputs"].items())
    read = list(readings(parent.document))
    for label, entry in entries(parent.document):
        block = made(entry["kind"], settings_in(entry), material.blocks)
        for port, rule in block.ports.items() if block is not None else ():
            if rule.default in TASK:
                continue
            wires = [reading for reading in read if reading.reader == label and reading.port == port]
            yield from ((wire, rule) for wire in wires or [Reading(label, port, 0, "")])
