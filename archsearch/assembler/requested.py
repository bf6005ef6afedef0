"""A requested L0: `target_l0: 32` in a spec, turned into what brings that SAE there.

Gates that keep a count are given it (several share it in the proportion of their counts); losses that hold an L0 of their own are given it;
for every other gate a controller steers the penalties. Blocks say which setting of theirs is an L0 (`Block.l0_setting`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from archsearch.blocks.catalogue import Catalogue
from archsearch.errors import InvalidInput, Problem

FIELD = "target_l0"
"""The field of an SAE spec."""

Entry = dict[str, Any]


def at_requested_l0(document: Any, blocks: Catalogue) -> Any:
    """Returns an SAE document with its `target_l0` turned into settings; one without, or no document at all, as it is.

    Raises:
        InvalidInput: nothing in it moves sparsity.
    """
    wanted = document.get(FIELD) if isinstance(document, dict) else None
    if wanted is None or isinstance(wanted, bool) or not isinstance(wanted, (int, float)) or not 0 < wanted < float("inf"):
        return document  # what is wrong with it the grammar says
    document = copy.deepcopy(document)
    del document[FIELD]
    gates = list(_gates(document.get("graph"), blocks))
    counts = [entry for entry in gates if blocks[entry["kind"]].l0_setting]
    losses = list(_entries(document.get("losses"), blocks))
    for entry in losses:
        setting = blocks[entry["kind"]].l0_setting
        if setting:
            entry[setting] = wanted
    if gates and len(counts) == len(gates):
        _share(counts, wanted, blocks)
    elif any(blocks[entry["kind"]].sparsity for entry in losses):
        controller = document.get("controller") or {}
        controller = {"kind": controller} if isinstance(controller, str) else controller
        document["controller"] = {"kind": _steering(blocks), **controller, "l0": wanted}
    elif gates:
        what = f"nothing here can bring the SAE to an L0 of {wanted:g}: no gate keeps a count, and no term of the loss moves sparsity"
        raise InvalidInput([Problem(f"{what}; add a penalty (`losses:`), or leave it out", FIELD)])
    return document


def _steering(blocks: Catalogue) -> str:
    return next(block.default_kind for block in blocks.blocks.values() if block.slot == "controller" and block.default_kind)


def _entries(mapping: Any, blocks: Catalogue) -> Iterator[Entry]:
    """Yields the blocks of a `graph:` or `losses:` mapping, each made a mapping in place; those of no known kind are left out."""
    if not isinstance(mapping, dict):
        return
    for label, written in mapping.items():
        entry = {"kind": written} if isinstance(written, str) else written
        if isinstance(entry, dict) and isinstance(entry.get("kind"), str) and entry["kind"] in blocks.blocks:
            mapping[label] = entry
            yield entry


def _gates(graph: Any, blocks: Catalogue) -> Iterator[Entry]:
    for entry in _entries(graph, blocks):
        yield from _gates(entry.get("graph"), blocks)
        if blocks[entry["kind"]].slot == "gate":
            yield entry


def _share(gates: list[Entry], wanted: float, blocks: Catalogue) -> None:
    settings = [blocks[entry["kind"]].l0_setting for entry in gates]
    counts = [entry.get(name, blocks[entry["kind"]].Spec.model_fields[name].default) for entry, name in zip(gates, settings, strict=True)]
    if not all(isinstance(count, (int, float)) for count in counts):
        return  # the grammar says what is wrong with them
    for entry, name, count in zip(gates, settings, counts, strict=True):
        entry[name] = max(round(wanted * count / sum(counts)), 1)
