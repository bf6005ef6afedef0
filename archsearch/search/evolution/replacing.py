"""Puts another block of its slot in a block's place; a gate with the penalties it comes with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from archsearch.search.evolution.change import Change, shuffled
from archsearch.search.evolution.documents import (
    TERM,
    Document,
    Entry,
    dotted,
    entries,
    entry_at,
    free_label,
    prefix_of,
    with_entry,
    with_signals,
)
from archsearch.search.evolution.material import Dressed, Material, done
from archsearch.search.evolution.parent import Made, Parent, fits, made, settings_in


def replacements(parent: Parent, mate: Parent | None, material: Material, draw: random.Random) -> Iterator[Change]:
    """Yields a parent with one block replaced by another kind of its slot, in settings that the space or the mate shows for it.

    Wires of ports that both have stay, the main port's too where it is called otherwise; others read what they read by default. A penalty
    is replaced by a penalty, any other term of the loss by one that is none. An op is what it does: no other of its slot is an alternative.
    """
    pairs = list(_pairs(parent, material))
    places = Counter(label for label, _, _ in pairs)  # every block has the same chance, however many kinds could stand for it
    weights = [material.weight(kind) / places[label] for label, _, kind in pairs]
    for label, entry, kind in shuffled(pairs, draw, weights):
        how = f"swap {dotted(label)}: {entry['kind']} -> {kind}"
        if label in parent.decoders:
            dressed = draw.choice(material.dressed(kind) or [Dressed({})])
            document = _with_gate(parent, label, kind, dressed, material)
            worn = ", ".join(penalty["kind"] for penalty in dressed.penalties)
            how = f"{how} with {worn}" if worn else how
        else:
            document = replaced(parent, label, kind, draw.choice(material.settings_beside(kind, mate)), material)
        if document is not None:
            yield Change(how, parent.child(document))


def _pairs(parent: Parent, material: Material) -> Iterator[tuple[str, Entry, str]]:
    """Yields every block that may be replaced with every kind that may stand for it."""
    blocks = material.blocks
    for label, entry in entries(parent.document):
        own, slot = entry["kind"], blocks[entry["kind"]].slot
        for kind in material.kinds(slot) if slot != "op" else ():
            if kind != own and (slot != "loss" or bool(blocks[kind].sparsity) is bool(blocks[own].sparsity)):
                yield label, entry, kind


def replaced(parent: Parent, label: str, kind: str, settings: Entry, material: Material) -> Document | None:
    """Returns a parent's document with a block of some kind and settings at a label; None where its main port does not take that signal."""
    entry = entry_at(parent.document, label)
    before, after = made(entry["kind"], settings_in(entry), material.blocks), made(kind, settings, material.blocks)
    if before is None or after is None:
        return None
    wires = _wires(parent, label, entry, before, after)
    if wires is None:
        return None
    document = with_entry(parent.document, label, {"kind": kind, **settings, "from": wires})
    return with_signals(document, lambda signal: _renamed(signal, label, before, after))


def _wires(parent: Parent, label: str, entry: Entry, before: Made, after: Made) -> Entry | None:
    """Returns what a block reads in another's place, None where its main port cannot."""
    own = entry["from"]
    main, other = next(iter(before.ports)), next(iter(after.ports))
    wires = {port: own[port] for port in after.ports if port in own}
    if main in own:
        wires[other] = own[main] if after.ports[other].many else own[main][:1]
    prefix = prefix_of(label)
    read = {port: [parent.infos[f"{prefix}{wire['signal']}"] for wire in found] for port, found in wires.items()}
    legal = {port: found for port, found in wires.items() if all(fits(after.ports[port], info) for info in read[port])}
    return legal if other in legal or other not in wires else None


def _renamed(signal: str, label: str, before: Made, after: Made) -> str | None:
    """Returns a signal, that of a block's main output by the name of the new one's; None for what the new block does not give."""
    reader, _, output = signal.rpartition(".")
    if reader != label or output in after.named:
        return signal
    return f"{label}.{next(iter(after.gives))}" if output == next(iter(before.gives)) else None


def _with_gate(parent: Parent, label: str, kind: str, dressed: Dressed, material: Material) -> Document | None:
    document = replaced(parent, label, kind, dressed.settings, material)
    if document is None:
        return None
    return redressed(document, label, parent.decoders[label], material.penalties(parent, label), dressed.penalties)


def redressed(document: Document, gate: str, decoder: str | None, off: list[str], on: tuple[Entry, ...]) -> Document:
    """Returns a document without some penalties, and with others on a gate in their place."""
    for term in off:
        document = with_entry(document, term, None)
    for number, penalty in enumerate(on):
        term = off[number] if number < len(off) else free_label(document, f"{TERM}penalty")
        document = with_entry(document, term, done(penalty, gate, decoder))
    return document
