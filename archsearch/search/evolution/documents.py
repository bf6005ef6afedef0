"""Written-out SAE documents as plain data: their blocks, the signals these read, and what is left of a document after a change.

Labels and signals are written as the top of the graph would name them, those of nested graphs with their path (`coarse.gate.code`); terms
of the loss are `losses/LABEL`. Nothing here changes a document: every function returns another that shares the parts that stayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

Document = dict[str, Any]
Entry = dict[str, Any]

TERM = "losses/"
"""Begins the label of a term of the loss."""

ALWAYS = f"{TERM}reconstruction"
"""The term of the loss that is there even where nobody writes it."""


class Reading(NamedTuple):
    """One wire: the label of the block that reads, its port, the place in the port's list, and the signal."""

    reader: str
    port: str
    place: int
    signal: str


def owner(signal: str) -> str:
    """Returns the label of the block a signal comes from, empty for an input of the SAE."""
    return signal.rpartition(".")[0]


def dotted(label: str) -> str:
    """Returns a label as messages write it (`losses.sparsity`)."""
    return label.replace("/", ".")


def prefix_of(label: str) -> str:
    """Returns what the names of a block's own graph begin with, empty at the top."""
    return "" if label.startswith(TERM) or "." not in label else f"{owner(label)}."


def graphs(document: Document) -> Iterator[tuple[str, dict[str, Entry]]]:
    """Yields the graph and those nested in it, each with what the names in it begin with."""
    waiting = [("", document["graph"])]
    while waiting:
        prefix, graph = waiting.pop(0)
        yield prefix, graph
        waiting += [(f"{prefix}{label}.", entry["graph"]) for label, entry in graph.items() if "graph" in entry]


def entries(document: Document, terms: bool = True) -> Iterator[tuple[str, Entry]]:
    """Yields every block of the graph and of nested ones by label, then the terms of the loss."""
    for prefix, graph in graphs(document):
        yield from ((f"{prefix}{label}", entry) for label, entry in graph.items())
    if terms:
        yield from ((f"{TERM}{label}", entry) for label, entry in document["losses"].items())


def entry_at(document: Document, label: str) -> Entry:
    """Returns the block with a label."""
    if label.startswith(TERM):
        return document["losses"][label.removeprefix(TERM)]
    *outer, last = label.split(".")
    graph = document["graph"]
    for step in outer:
        graph = graph[step]["graph"]
    return graph[last]


def with_entry(document: Document, label: str, entry: Entry | None, before: str = "") -> Document:
    """Returns a document with another block at a label, or with none there; a new one stands before the block `before` of its graph."""
    if label.startswith(TERM):
        return {**document, "losses": _with(document["losses"], label.removeprefix(TERM), entry, "")}
    *outer, last = label.split(".")
    if not outer:
        return {**document, "graph": _with(document["graph"], last, entry, before)}
    above = entry_at(document, ".".join(outer))
    inner = _with(above["graph"], last, entry, before.rpartition(".")[2])
    return with_entry(document, ".".join(outer), {**above, "graph": inner})


def _with(mapping: dict[str, Entry], label: str, entry: Entry | None, before: str) -> dict[str, Entry]:
    if entry is None:
        return {key: value for key, value in mapping.items() if key != label}
    if label in mapping or before not in mapping:
        return {**mapping, label: entry}
    found: dict[str, Entry] = {}
    for key, value in mapping.items():
        found |= {label: entry, key: value} if key == before else {key: value}
    return found


def readings(document: Document, terms: bool = True) -> Iterator[Reading]:
    """Yields every wire of the graph and of nested ones, then those of the terms of the loss."""
    for label, entry in entries(document, terms):
        prefix = prefix_of(label)
        for port, wires in entry["from"].items():
            yield from (Reading(label, port, place, f"{prefix}{wire['signal']}") for place, wire in enumerate(wires))


def wire_to(label: str, signal: str, detach: bool | None = None) -> Entry:
    """Returns a wire from a signal to the block with a label, as the block's own graph writes it."""
    return {"signal": signal.removeprefix(prefix_of(label)), "detach": detach}


def rewired(document: Document, reading: Reading, signal: str) -> Document:
    """Returns a document in which one wire reads another signal; one at the end of its port's list is added."""
    if not reading.reader:
        return {**document, "outputs": {**document["outputs"], reading.port: signal}}
    entry = entry_at(document, reading.reader)
    wires = list(entry["from"].get(reading.port, []))
    wires[reading.place : reading.place + 1] = [wire_to(reading.reader, signal)]
    return with_entry(document, reading.reader, {**entry, "from": {**entry["from"], reading.port: wires}})


def with_signals(document: Document, change: Callable[[str], str | None]) -> Document:
    """Returns a document that reads `change(signal)` wherever it read a signal.

    A wire for which that is None is taken out, so that the port reads what it reads by default.
    """
    found = {**document, "outputs": {target: change(signal) or signal for target, signal in document["outputs"].items()}}
    found["graph"] = _changed(document["graph"], "", change)
    found["losses"] = {label: _rewritten(entry, "", change) for label, entry in document["losses"].items()}
    return found


def _changed(graph: dict[str, Entry], prefix: str, change: Callable[[str], str | None]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for label, entry in graph.items():
        found[label] = _rewritten(entry, prefix, change)
        if "graph" in entry:
            found[label] = {**found[label], "graph": _changed(entry["graph"], f"{prefix}{label}.", change)}
    return found


def _rewritten(entry: Entry, prefix: str, change: Callable[[str], str | None]) -> Entry:
    wires: dict[str, list[Entry]] = {}
    for port, before in entry["from"].items():
        pairs = [(wire, change(f"{prefix}{wire['signal']}")) for wire in before]
        after = [{**wire, "signal": signal.removeprefix(prefix)} for wire, signal in pairs if signal is not None]
        wires |= {port: after} if after else {}
    return {**entry, "from": wires}


def reached(document: Document, signals: Iterable[str], follows: Callable[[str], bool] = bool) -> set[str]:
    """Returns the blocks that signals are made from, through signals that `follows` holds for; a nested graph counts whole."""
    reads: dict[str, list[str]] = {}
    for reading in readings(document, terms=False):
        reads.setdefault(reading.reader, []).append(reading.signal)
    labels = dict.fromkeys(label for label, _ in entries(document, terms=False))
    found: set[str] = set()
    waiting = [owner(signal) for signal in signals]
    while waiting:
        label = waiting.pop()
        if label not in labels or label in found:  # an input may bear the dotted name of a hook point
            continue
        found.add(label)
        waiting += [owner(signal) for signal in reads.get(label, []) if follows(signal)]
        waiting += [inner for inner in labels if inner.startswith(f"{label}.")]
        waiting.append(owner(label))
    return found


def pruned(document: Document, before: Document, follows: Callable[[str], bool]) -> Document:
    """Returns a document without the blocks that a change has left unread.

    Whatever else read one from which rows flowed to an output in the document `before` the change, and do so no more, reads its default:
    a decoder is not kept for its bias. `follows` tells of a signal whether it carries rows.
    """
    old, new = (reached(each, each["outputs"].values(), follows) for each in (before, document))
    orphans = old - new
    kept = with_signals(document, lambda signal: None if owner(signal) in orphans else signal)
    read = reached(kept, [*kept["outputs"].values(), *(r.signal for r in readings(kept) if r.reader.startswith(TERM))])
    unread = [label for label, _ in entries(kept, terms=False) if label not in read]
    for label in unread:
        if owner(label) not in unread:  # else it has gone with the nested graph it stood in
            kept = with_entry(kept, label, None)
    return kept


def free_label(document: Document, label: str) -> str:
    """Returns a label like this one that nothing in its graph bears: with the next number behind it."""
    taken = {*document["inputs"], *(other for other, _ in entries(document))}
    number = 1
    while f"{label}_{number}" in taken:
        number += 1
    return f"{label}_{number}"
