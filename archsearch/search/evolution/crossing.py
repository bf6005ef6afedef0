"""Takes a part of another parent: what gives a signal, with all it needs; settings of a block; or what stands beside the graph."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from archsearch.search.evolution.change import Change, shuffled
from archsearch.search.evolution.documents import (
    TERM,
    Document,
    Entry,
    dotted,
    entries,
    entry_at,
    free_label,
    owner,
    with_entry,
    with_signals,
)
from archsearch.search.evolution.material import Material, undone
from archsearch.search.evolution.parent import Parent, fits, port_at, settings_in
from archsearch.search.evolution.replacing import redressed, replaced

PARTS = ("scale", "init", "revival", "calibration")
"""What stands beside the graph and is taken whole."""

RULES = ("optimizer", "schedule")
"""What of the training is taken whole."""


def crossings(parent: Parent, mate: Parent | None, material: Material, draw: random.Random) -> Iterator[Change]:
    """Yields a parent with a part of the mate's in the place of its own; nothing where there is no mate.

    What gives a signal is taken with every block it is made from; one of those that the parent has just so is shared. What these borrow of
    blocks that do not come along they borrow by default, of the parent's. A gate comes with its penalties.
    """
    if mate is None or mate.document["inputs"] != parent.document["inputs"]:
        return
    ways = [list(_signals(parent, mate, material)), list(_settings(parent, mate, material)), list(_beside(parent, mate, material))]
    for way in shuffled(ways, draw):
        yield from shuffled(way, draw)


def _signals(parent: Parent, mate: Parent, material: Material) -> Iterator[Change]:
    wires = list(parent.wires())
    inputs = parent.document["inputs"]
    for signal in dict.fromkeys(wire.signal for wire in wires if wire.signal in inputs or "." not in owner(wire.signal)):
        ends = [port_at(parent, wire, material.blocks) for wire in wires if wire.signal == signal]
        for label, entry in mate.document["graph"].items():
            info = mate.infos[mate.mains[label]]
            if parent.infos[signal].type is info.type and all(fits(end, info) for end in ends):
                document = grafted(parent, mate, signal, label, material)
                if document is not None:
                    yield Change(f"take {label} ({entry['kind']}) of ask {mate.ask} for {signal}", parent.child(document))


def grafted(parent: Parent, mate: Parent, signal: str, label: str, material: Material) -> Document | None:
    """Returns a parent's document that reads the main output of a mate's block wherever it read a signal; None where they are the same."""
    graft = _Graft(parent, mate)
    taken = f"{graft.place(label)}{mate.mains[label].removeprefix(label)}"
    if taken == signal:
        return None
    document = with_signals(parent.document, lambda read: taken if read == signal else read)
    for own, entry in graft.complete().items():
        document = with_entry(document, own, entry)
    before = parent.before(signal)
    gone = [gate for gate in parent.decoders if gate in before and gate not in graft.names.values()]
    off = [term for gate in gone for term in material.penalties(parent, gate)]
    decoder = next((parent.decoders[gate] for gate in gone), None)
    for theirs, own in graft.names.items():
        if own in graft.new and material.blocks[graft.new[own]["kind"]].slot == "gate":
            on = tuple(undone(entry_at(mate.document, term), theirs, mate) for term in material.penalties(mate, theirs))
            document, off = redressed(document, own, decoder, off, on), []
    return document


@dataclass
class _Graft:
    """Blocks of a mate on their way into a parent.

    `names`: labels they have there; `new`: those the parent does not have just so, with the wires that carry rows; `lent`: their wires to
    parameters, as the mate writes them.
    """

    parent: Parent
    mate: Parent
    names: dict[str, str] = field(default_factory=dict)
    new: dict[str, Entry] = field(default_factory=dict)
    lent: dict[str, dict[str, list[Entry]]] = field(default_factory=dict)

    def place(self, label: str) -> str:
        """Returns the label that a block of the mate has in the child, after those it is made from have got theirs."""
        if label in self.names:
            return self.names[label]
        entry = self.mate.document["graph"][label]
        flowing = _flowing(entry, self.mate)
        wires = {port: [{**wire, "signal": self._renamed(wire["signal"])} for wire in read] for port, read in flowing["from"].items()}
        wanted = {**entry, "from": wires}
        graph = self.parent.document["graph"]
        twin = next((own for own, other in graph.items() if _flowing(other, self.parent) == wanted), None)
        own = twin or free_label({**self.parent.document, "graph": {**graph, **self.new}}, label.rstrip("_0123456789"))
        self.names[label] = own
        if twin is None:
            self.new[own] = wanted
            self.lent[own] = {port: read for port, read in entry["from"].items() if port not in wires}
        return own

    def _renamed(self, signal: str) -> str:
        if signal in self.mate.document["inputs"]:
            return signal
        label, _, output = signal.partition(".")  # a nested graph comes whole
        return f"{self.place(label)}.{output}"

    def complete(self) -> dict[str, Entry]:
        """Returns the new blocks with their wires to parameters of blocks that came along; others are left to their defaults."""
        found: dict[str, Entry] = {}
        for own, entry in self.new.items():
            wires = dict(entry["from"])
            for port, read in self.lent[own].items():
                if all(owner(wire["signal"]) in self.names for wire in read):
                    wires[port] = [{**wire, "signal": self._renamed(wire["signal"])} for wire in read]
            found[own] = {**entry, "from": wires}
        return found


def _flowing(entry: Entry, parent: Parent) -> Entry:
    """Returns a block with the wires that carry rows alone."""
    read = {port: [wire for wire in wires if parent.flows(wire["signal"])] for port, wires in entry["from"].items()}
    return {**entry, "from": {port: wires for port, wires in read.items() if wires}}


def _settings(parent: Parent, mate: Parent, material: Material) -> Iterator[Change]:
    for label, entry in entries(parent.document):
        kind, own = entry["kind"], settings_in(entry)
        for theirs, other in entries(mate.document):
            settings = settings_in(other)
            counted = material.blocks[kind].l0_setting  # how many the L0 asked for will decide
            if other["kind"] != kind or "graph" in entry or {**own, counted: None} == {**settings, counted: None}:
                continue
            document = replaced(parent, label, kind, settings, material)
            if document is not None:
                yield Change(
                    f"take the settings of {dotted(theirs)} ({kind}) of ask {mate.ask} for {dotted(label)}",
                    parent.child(document),
                )


def _beside(parent: Parent, mate: Parent, material: Material) -> Iterator[Change]:
    own, other = parent.document, mate.document
    for part in PARTS:
        if other[part] != own[part] and other[part] is not None:
            yield Change(f"take {part} ({other[part]['kind']}) of ask {mate.ask}", {**own, part: other[part]})
    for rule in RULES:
        if other["training"][rule] != own["training"][rule]:
            training = {**own["training"], rule: other["training"][rule]}
            yield Change(f"take {rule} ({training[rule]['kind']}) of ask {mate.ask}", {**own, "training": training})
    here = {entry["kind"] for entry in own["losses"].values()}
    for label, entry in other["losses"].items():
        if entry["kind"] not in here and not material.blocks[entry["kind"]].sparsity:
            term = free_label(own, f"{TERM}term")
            yield Change(f"take losses.{label} ({entry['kind']}) of ask {mate.ask}", with_entry(own, term, {**entry, "from": {}}))
