"""A requested L0: `target_l0: 32` in a spec, turned into what brings that SAE there.

Gates that keep a count are given it (several share it in the proportion of their counts); losses that hold an L0 of their own are given it;
for every other gate a controller steers the penalties. Blocks say which setting of theirs is an L0 (`Block.l0_setting`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

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
    document = _copied(document)
    del document[FIELD]
    gates = list(_gates(document.get("graph"), blocks))
    _possible(document, wanted, blocks)
    counts = [entry for entry in gates if blocks[entry["kind"]].l0_setting]
    losses = list(_entries(document.get("losses"), blocks))
    for entry in losses:
        setting = blocks[entry["kind"]].l0_setting
        if setting:
            entry[setting] = wanted
    if gates and len(counts) == len(gates):
        _share(counts, wanted, blocks)
    elif any(blocks[entry["kind"]].sparsity for entry in losses):
        _room(counts, wanted, blocks)
        controller = document.get("controller") or {}
        controller = {"kind": controller} if isinstance(controller, str) else controller
        document["controller"] = {"kind": _steering(blocks), **controller, "l0": wanted}
    elif gates:
        what = f"nothing here can bring the SAE to an L0 of {wanted:g}: no gate keeps a count, and no term of the loss moves sparsity"
        raise InvalidInput([Problem(f"{what}; add a penalty (`losses:`), or leave it out", FIELD)])
    return document


def _copied(node: Any) -> Any:
    """Returns plain data with no part in common with itself: an anchor of YAML may put one mapping in two places."""
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _possible(document: dict[str, Any], wanted: float, blocks: Catalogue) -> None:
    """Refuses an L0 above the number of latents.

    Raises:
        InvalidInput: there are fewer latents.
    """
    widths = list(_widths(document.get("graph"), document.get("width"), blocks))
    if widths and all(isinstance(width, int) for width in widths) and wanted > sum(widths):
        raise InvalidInput([Problem(f"must be at most the number of latents ({sum(widths)}); got {wanted:g}", FIELD)])


def _widths(graph: Any, width: Any, blocks: Catalogue) -> Iterator[Any]:
    for entry in _entries(graph, blocks):
        yield from _widths(entry.get("graph"), entry.get("width"), blocks)
        if blocks[entry["kind"]].slot == "gate":
            yield width


def _room(counts: list[Entry], wanted: float, blocks: Catalogue) -> None:
    """Refuses gates that keep a count, beside others that are steered, if the counts leave these nothing.

    Raises:
        InvalidInput: the counts are all of the L0 asked for, or more.
    """
    kept = _counts(counts, blocks)
    if kept and sum(kept) >= wanted:
        what = (
            f"gates that keep a count keep {sum(kept):g} already, so that nothing is left for the others; lower the counts, or ask for more"
        )
        raise InvalidInput([Problem(what, FIELD)])


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
    """Gives gates whole counts in the proportion of their own that add up to `wanted`, rounded; one at least each."""
    counts = _counts(gates, blocks)
    if counts is None:
        return  # the grammar says what is wrong with them
    total = max(round(wanted), len(gates))
    parts = [max(total * count / sum(counts), 1.0) for count in counts]
    given = [math.floor(part) for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda index: given[index] - parts[index])
    for index in by_remainder[: max(total - sum(given), 0)]:
        given[index] += 1
    for entry, count in zip(gates, given, strict=True):
        entry[blocks[entry["kind"]].l0_setting] = count


def _counts(gates: list[Entry], blocks: Catalogue) -> list[float] | None:
    """Returns the counts of gates as written, or None if one of them is no count."""
    found = []
    for entry in gates:
        block = blocks[entry["kind"]]
        field = block.Spec.model_fields[block.l0_setting]
        try:
            found.append(_count(entry.get(block.l0_setting, field.default), field))
        except ValueError:
            return None
    return found


def _count(value: Any, field: FieldInfo) -> float:
    """Returns a count as its field reads it.

    Raises:
        ValueError: it is none, or not above zero.
    """
    annotation: Any = Annotated[field.annotation, field]
    count = TypeAdapter(annotation).validate_python(value)
    if isinstance(value, bool) or not 0 < count < math.inf:
        raise ValueError("no count")
    return count
