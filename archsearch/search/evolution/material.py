"""What children may be made of: blocks with the settings they are shown with, gates with their penalties, and how far settings may move.

A gate whose sparsity a penalty moves is of no use without one, and which one belongs to it no type says: so gates change together with the
penalties that the space, or else a recipe, has them with. Where neither shows a gate, any penalty that fits what it gives will do: the L0
asked for steers its strength.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.blocks.catalogue import Catalogue
from archsearch.blocks.signals import Given
from archsearch.search.evolution.documents import ALWAYS, TERM, Entry, entries, entry_at, owner, readings, wire_to
from archsearch.search.evolution.parent import Parent, is_nested, made, settings_in
from archsearch.spec.hashes import canonical
from archsearch.spec.holes import ValueHole
from archsearch.spec.space import Space

GATE, DECODER = "(gate)", "(decoder)"
"""Stand for a gate, and a decoder of its code, in the wires of a penalty that is not in a document yet."""

NEW = 5.0
"""How much more often a kind is drawn that no structure of the study has had."""


@dataclass(frozen=True)
class Dressed:
    """A gate's settings and the penalties it comes with, their wires to `GATE` and `DECODER`."""

    settings: Entry
    penalties: tuple[Entry, ...] = ()


@dataclass
class Material:
    """Blocks to choose from.

    `holes`: those the space leaves, by kind and setting; `tried`: kinds that a structure of the study has had.
    """

    blocks: Catalogue
    holes: Mapping[tuple[str, str], list[ValueHole]] = field(default_factory=dict)
    shown: dict[str, dict[str, Entry]] = field(default_factory=dict)
    gates: dict[str, dict[str, Dressed]] = field(default_factory=dict)
    terms: dict[str, dict[str, Entry]] = field(default_factory=dict)
    tried: frozenset[str] = frozenset()

    def weight(self, kind: str) -> float:
        """Returns how much more likely than another a kind is drawn, so that each gets its turn."""
        return 1.0 if kind in self.tried else NEW

    def add(self, parent: Parent) -> None:
        """Takes over the blocks of an SAE: the settings each is shown with, gates with their penalties, terms of the loss."""
        for label, entry in entries(parent.document):
            settings, kind = settings_in(entry), entry["kind"]
            if "graph" not in entry:
                self.shown.setdefault(kind, {})[canonical(settings)] = settings
            if self.blocks[kind].slot == "gate" and label in parent.decoders:
                dressed = Dressed(
                    settings, tuple(undone(entry_at(parent.document, term), label, parent) for term in self.penalties(parent, label))
                )
                self.gates.setdefault(kind, {})[canonical([settings, *dressed.penalties])] = dressed
            if label.startswith(TERM) and label != ALWAYS and not self.blocks[kind].sparsity:
                self.terms.setdefault(kind, {})[canonical(settings)] = settings

    def add_missing(self, other: Material) -> None:
        """Takes over gates, penalties and terms of kinds that are not there yet."""
        for mine, theirs in ((self.gates, other.gates), (self.terms, other.terms)):
            mine |= {kind: found for kind, found in theirs.items() if kind not in mine}
        self.shown |= {kind: found for kind, found in other.shown.items() if kind not in self.shown and self.blocks[kind].sparsity}

    def settings(self, kind: str) -> list[Entry]:
        """Returns the settings a kind is shown with; its defaults where it is not."""
        return list(self.shown.get(kind, {}).values()) or [{}]

    def settings_beside(self, kind: str, mate: Parent | None) -> list[Entry]:
        """Returns the settings a kind is shown with here or by another parent; its defaults where neither has it."""
        theirs = [settings_in(entry) for _, entry in entries(mate.document) if entry["kind"] == kind] if mate is not None else []
        return theirs if theirs and kind not in self.shown else [*theirs, *self.settings(kind)]

    def kinds(self, *slots: str) -> list[str]:
        """Returns the kinds of some slots that a graph may be given: neither graphs of their own nor what is handed a language model.

        A pass through a model costs more than all the rest, so that only a space may ask for one.
        """
        found = [kind for slot in slots for kind in self.blocks.slots.get(slot, {}) if not is_nested(kind, self.blocks)]
        return [kind for kind in found if kind in self.shown or not self._spliced(kind)]

    def _spliced(self, kind: str) -> bool:
        block = made(kind, {}, self.blocks)
        return block is None or Given.SPLICE in block.block.given(block.spec).values()

    def penalties(self, parent: Parent, gate: str) -> list[str]:
        """Returns the labels of the terms that read what a gate gives and whose strength moves sparsity."""
        found = dict.fromkeys(r.reader for r in readings(parent.document) if r.reader.startswith(TERM) and owner(r.signal) == gate)
        return [label for label in found if self.blocks[entry_at(parent.document, label)["kind"]].sparsity]

    def dressed(self, kind: str) -> list[Dressed]:
        """Returns the forms a gate may be put in with: those it is shown with, else every penalty there is that fits what it gives."""
        if kind in self.gates:
            return list(self.gates[kind].values())
        if self.blocks[kind].l0_setting:
            return [Dressed(settings) for settings in self.settings(kind)]
        return [found for settings in self.settings(kind) for found in self._fitting(kind, settings)]

    def _fitting(self, kind: str, settings: Entry) -> Iterator[Dressed]:
        gate = made(kind, settings, self.blocks)
        for other in self.kinds("loss") if gate is not None else ():
            penalty = made(other, self.settings(other)[0], self.blocks) if self.blocks[other].sparsity and other in self.shown else None
            if gate is None or penalty is None:
                continue
            port, rule = next(iter(penalty.ports.items()))
            output = next((name for name, type in gate.gives.items() if type in rule.types), None)
            if output is not None:
                wires = {port: [{"signal": f"{GATE}.{output}", "detach": None}]}
                yield Dressed(settings, ({"kind": other, **self.settings(other)[0], "from": wires},))


def undone(term: Entry, gate: str, parent: Parent) -> Entry:
    """Returns a penalty that reads a placeholder for its gate, and for the gate's decoder; other wires are left to their defaults."""
    decoder = parent.decoders.get(gate)
    stand_ins = {gate: GATE, **({decoder: DECODER} if decoder is not None else {})}
    wires = {}
    for port, read in term["from"].items():
        named = [(stand_ins.get(owner(wire["signal"])), wire) for wire in read]
        if all(name is not None for name, _ in named):
            wires[port] = [{**wire, "signal": f"{name}.{wire['signal'].rpartition('.')[2]}"} for name, wire in named]
    return {**term, "from": wires}


def done(term: Entry, gate: str, decoder: str | None) -> Entry:
    """Returns a penalty that reads the gate with a label, and a decoder of its code; what there is no decoder for reads its default."""
    labels = {GATE: gate, DECODER: decoder}
    wires = {}
    for port, read in term["from"].items():
        named = [(labels[owner(wire["signal"])], wire) for wire in read]
        if all(label is not None for label, _ in named):
            wires[port] = [wire_to(TERM, f"{label}.{wire['signal'].rpartition('.')[2]}", wire["detach"]) for label, wire in named]
    return {**term, "from": wires}


def holes_of(space: Space, blocks: Catalogue) -> dict[tuple[str, str], list[ValueHole]]:
    """Returns the value holes of a space by the kind they stand in and the setting they open."""
    parameters = space.parameters()
    found: dict[tuple[str, str], list[ValueHole]] = {}
    for filled in space.corners():
        for name, path in filled.path_of.items():
            node: Any = filled.document
            for step in path[:-1]:
                node = node[step]
            kind = node.get("kind") if isinstance(node, dict) else None
            if kind in blocks.blocks and isinstance(path[-1], str):
                known = found.setdefault((kind, path[-1]), [])
                if parameters[name].hole not in known:
                    known.append(parameters[name].hole)
    return found
