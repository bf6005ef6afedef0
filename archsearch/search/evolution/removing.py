"""Takes a block out."""

from __future__ import annotations

import random
from collections.abc import Iterator

from archsearch.search.evolution.change import Change, shuffled
from archsearch.search.evolution.documents import (
    ALWAYS,
    TERM,
    Document,
    Reading,
    dotted,
    entries,
    owner,
    readings,
    with_entry,
    with_signals,
)
from archsearch.search.evolution.material import Material
from archsearch.search.evolution.parent import Parent, fits, port_at


def removals(parent: Parent, mate: Parent | None, material: Material, draw: random.Random) -> Iterator[Change]:
    """Yields a parent with one block less: whoever read its main output reads one of the signals that it read.

    What nothing reads any more goes with it. Terms of the loss, revival and calibration are taken out as they are.
    """
    document = parent.document
    for label, entry in shuffled(list(entries(document)), draw):
        how = f"remove {dotted(label)} ({entry['kind']})"
        if label.startswith(TERM):
            if label != ALWAYS:
                yield Change(how, with_entry(document, label, None))
            continue
        ends = [reading for reading in [*parent.wires(), *_of_losses(parent)] if reading.signal == parent.mains[label]]
        read = dict.fromkeys(reading.signal for reading in parent.wires() if reading.reader == label)
        for signal in shuffled(list(read), draw):
            if all(fits(port_at(parent, end, material.blocks), parent.infos[signal]) for end in ends):
                yield Change(how, parent.child(_bridged(parent, label, signal)))
    for part in ("revival", "calibration"):
        if document[part] is not None:
            yield Change(f"remove {part} ({document[part]['kind']})", {**document, part: None})


def _of_losses(parent: Parent) -> Iterator[Reading]:
    yield from (reading for reading in readings(parent.document) if reading.reader.startswith(TERM))


def _bridged(parent: Parent, label: str, signal: str) -> Document:
    """Returns a parent's document without a block; its main output's readers read `signal`, those of its parameters their defaults."""

    def change(read: str) -> str | None:
        if read == parent.mains[label]:
            return signal
        return None if f"{owner(read)}.".startswith(f"{label}.") else read

    return with_signals(with_entry(parent.document, label, None), change)
