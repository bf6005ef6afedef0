"""A requested L0: `target_l0: 32` in a spec, turned into what brings that SAE there.

Gates that keep a count are given it (several share it in the proportion of their counts), and so are losses that hold an L0 of their own,
less the rank of paths past the codes; for every other gate a controller steers the penalties. Blocks say which setting of theirs is an L0
(`Block.l0_setting`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from archsearch.assembler.validate import validate
from archsearch.assembler.wired import wire
from archsearch.blocks.catalogue import Catalogue
from archsearch.errors import InvalidInput, Problem

FIELD = "target_l0"
"""The field of an SAE spec."""

ANY_WIDTH = 2**31
"""Stands for the width of the activations, which no document says."""

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
    counts = [entry for entry in gates if blocks[entry["kind"]].l0_setting]
    losses = list(_entries(document.get("losses"), blocks))
    targets = [entry for entry in losses if blocks[entry["kind"]].l0_setting]
    rank = _dense_rank(document, blocks) if counts or targets else 0  # a controller counts it by itself
    _possible(document, wanted, rank, blocks)
    for entry in targets:
        entry[blocks[entry["kind"]].l0_setting] = wanted - rank
    if gates and len(counts) == len(gates):
        _share(counts, wanted - rank, blocks)
    elif any(blocks[entry["kind"]].sparsity for entry in losses):
        _room(counts, wanted - rank, blocks)
        controller = document.get("controller") or {}
        controller = {"kind": controller} if isinstance(controller, str) else controller
        document["controller"] = {"kind": _steering(blocks), **controller, "l0": wanted}
    elif gates:
        what = f"nothing here can bring the SAE to an L0 of {wanted:g}: no gate keeps a count, and no term of the loss moves sparsity"
        raise InvalidInput([Problem(f"{what}; add a penalty (`losses:`), or leave it out", FIELD)])
    return document


def check_written(document: Any, blocks: Catalogue) -> None:
    """Refuses a document whose user asks for two L0s: `target_l0`, and another one in a controller or a term of the loss.

    For documents as they were written; where a sweep fills `target_l0` in, it takes the place of all others.

    Raises:
        InvalidInput: naming both.
    """
    wanted = document.get(FIELD) if isinstance(document, dict) else None
    if wanted is None:
        return
    places = [("controller", document.get("controller")), *((f"losses.{label}", term) for label, term in _items(document.get("losses")))]
    problems = []
    for place, entry in places:
        block = blocks.blocks.get(str(entry.get("kind"))) if isinstance(entry, dict) else None
        setting = block.l0_setting if block is not None else ""
        if setting and entry.get(setting) not in (None, wanted):
            path = f"{place}.{setting}"
            what = f"two L0s are asked for, {path} {entry[setting]!r} and {FIELD} {wanted!r}; say it in one place only"
            problems.append(Problem(what, path))
    if problems:
        raise InvalidInput(problems)


def _items(node: Any) -> Iterable[tuple[str, Any]]:
    return node.items() if isinstance(node, dict) else ()


def _copied(node: Any) -> Any:
    """Returns plain data with no part in common with itself: an anchor of YAML may put one mapping in two places."""
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _dense_rank(document: Entry, blocks: Catalogue) -> int:
    """Returns the rank of what flows past every code, `ANY_WIDTH` at least where it is that of the activations.

    Zero for what is no legal SAE: what is wrong with it is said when it is parsed and assembled.
    """
    document = _copied(document)
    for entry in _gates(document.get("graph"), blocks):
        if setting := blocks[entry["kind"]].l0_setting:
            entry[setting] = 1  # legal everywhere, and the rank does not depend on it
    spec = validate(blocks.grammar.of_sae, document, "", [])
    try:
        return wire(spec, ANY_WIDTH, blocks).dense_rank if spec is not None else 0
    except InvalidInput:
        return 0


def _possible(document: Entry, wanted: float, rank: int, blocks: Catalogue) -> None:
    """Refuses an L0 that paths past the codes use up, or that the latents there are cannot reach.

    Raises:
        InvalidInput: naming the rank, or the number of latents.
    """
    if rank and wanted - rank < 1:
        which = "the rank of the activations" if rank >= ANY_WIDTH else f"rank {rank}"
        what = f"paths past the codes have {which}, which counts as L0: of {wanted:g} nothing is left for the gates"
        raise InvalidInput([Problem(f"{what}; narrow or leave out the paths, or ask for more", FIELD)])
    widths = list(_widths(document.get("graph"), document.get("width"), blocks))
    if widths and all(isinstance(width, int) for width in widths) and wanted - rank > sum(widths):
        most = f"the number of latents ({sum(widths)})" + (f" and the rank of paths past them ({rank})" if rank else "")
        raise InvalidInput([Problem(f"must be at most {most}; got {wanted:g}", FIELD)])


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
        what = f"gates that keep a count keep {sum(kept):g} already, so that nothing is left for the others"
        what = f"{what}; lower the counts, or ask for more"
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
