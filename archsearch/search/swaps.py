"""One difference of two SAEs at a time put back in a spec, without a space: settings, blocks and terms of the loss."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from archsearch.search.settings import settings, sparsity_settings

Document = dict[str, Any]

_ORDER = ("training.tokens", "training.batch")
"""How long is trained: the same for all that are compared."""


class Swap(NamedTuple):
    """One difference put back: its path, what stands there and what is put there in words, and the spec that comes of it."""

    path: str
    own: Any
    back: Any
    document: Document


def swaps(spec: Document, reference: Document) -> list[Swap]:
    """Returns a resolved spec with each of its differences from another put back by itself; specs that cannot be built among them.

    A block of another kind is replaced where it stands and keeps the wires of ports that both have; one the reference lacks is taken out,
    and whoever read it reads what it read; a term of the loss only the reference has is added. A block of the graph that only the
    reference has is not put in: nothing says where.
    """
    return [*_blocks(spec, reference), *_settings(spec, reference)]


def _blocks(spec: Document, reference: Document) -> Iterator[Swap]:
    for part in ("graph", "losses"):
        mine, theirs = spec[part], reference[part]
        for label in mine:
            own, other = mine[label], theirs.get(label)
            path = f"{part}.{label}"
            if other is None:
                yield Swap(path, own["kind"], None, _without(spec, part, label))
            elif own["kind"] != other["kind"]:
                wires = {**other["from"], **{port: wire for port, wire in own["from"].items() if port in other["from"]}}
                yield Swap(path, own["kind"], other["kind"], _set(spec, path, {**other, "from": wires}))
        for label in theirs if part == "losses" else ():
            if label not in mine:
                yield Swap(f"losses.{label}", None, theirs[label]["kind"], _set(spec, f"losses.{label}", theirs[label]))
    for name in ("scale", "init", "revival", "controller", "calibration"):
        own, other = (_kind(document.get(name)) for document in (spec, reference))
        if own != other and name != "controller":  # who steers sparsity is what the L0 asked for decides
            yield Swap(name, own, other, _set(spec, name, copy.deepcopy(reference.get(name))))
    for name in ("optimizer", "schedule"):
        own, other = (_kind(document["training"][name]) for document in (spec, reference))
        if own != other:
            yield Swap(f"training.{name}", own, other, _set(spec, f"training.{name}", reference["training"][name]))


def _settings(spec: Document, reference: Document) -> Iterator[Swap]:
    mine, theirs = settings(spec), settings(reference)
    free = sparsity_settings(spec) | sparsity_settings(reference) | set(_ORDER)
    for path in mine:
        above = path.rpartition(".")[0]
        kinds = [found.get(f"{above}.kind") for found in (mine, theirs)]
        same = path in theirs and kinds[0] == kinds[1] and not path.endswith(".kind")
        if same and path not in free and mine[path] != theirs[path] and not path.startswith("controller."):
            yield Swap(path, mine[path], theirs[path], _set(spec, path, theirs[path]))


def _kind(entry: Any) -> str | None:
    return entry["kind"] if isinstance(entry, Mapping) else None


def _set(spec: Document, path: str, value: Any) -> Document:
    """Returns a copy of a spec with `value` at a dotted path."""
    found = copy.deepcopy(spec)
    *steps, last = path.split(".")
    node = found
    for step in steps:
        node = node[step]
    node[last] = copy.deepcopy(value)
    return found


def _without(spec: Document, part: str, label: str) -> Document:
    """Returns a copy of a spec without a block; wires to any of its outputs go to what its first port reads."""
    found = copy.deepcopy(spec)
    gone = found[part].pop(label)
    first = next(iter(gone["from"].values()), [])
    for entries in (found["graph"], found["losses"]):
        for entry in entries.values():
            for wire in (wire for wires in entry["from"].values() for wire in wires):
                if part == "graph" and wire["signal"].rpartition(".")[0] == label and first:
                    wire["signal"] = first[0]["signal"]
    return found
