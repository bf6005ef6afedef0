"""A requested L0: `target_l0: 32` in a spec, turned into what brings that SAE there.

Gates that keep a count are given it (several share it in the proportion of their counts), and so are losses that hold an L0 of their own,
less the rank of paths past the codes; for every other gate a controller steers the penalties. A first gate, whose code no decoder reads
and another gate is made from, takes no share: it is given the count of that gate. Blocks say which setting of theirs is an L0
(`Block.l0_setting`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from archsearch.assembler.graph import Graph
from archsearch.assembler.validate import validate
from archsearch.assembler.wired import wire
from archsearch.blocks.catalogue import Catalogue
from archsearch.errors import InvalidInput, Problem

FIELD = "target_l0"
"""The field of an SAE spec."""

ANY_WIDTH = 2**31
"""Stands for the width of the activations, which no document says."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class _Gate:
    """A gate of a document: its flat label, its entry, and the width it stands in."""

    label: str
    entry: Entry
    width: Any

    def setting(self, blocks: Catalogue) -> str:
        """Returns the name of its setting that is an L0, empty if it has none."""
        return blocks[self.entry["kind"]].l0_setting


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
    everywhere = list(_gates(document.get("graph"), document.get("width"), blocks))
    losses = list(_entries(document.get("losses"), blocks))
    targets = [entry for entry in losses if blocks[entry["kind"]].l0_setting]
    graph = _wired(document, blocks) if targets or any(gate.setting(blocks) for gate in everywhere) else None
    before = first_gates(graph)
    gates = [gate for gate in everywhere if gate.label not in before]
    counts = [gate.entry for gate in gates if gate.setting(blocks)]
    rank = graph.dense_rank if graph is not None else 0
    rank, left = (rank if counts or targets else 0), wanted - rank  # a controller counts it by itself
    _possible(gates, wanted, rank)
    for entry in targets:
        entry[blocks[entry["kind"]].l0_setting] = wanted - rank
    if gates and len(counts) == len(gates):
        _share(counts, wanted - rank, blocks)
    elif any(blocks[entry["kind"]].sparsity for entry in losses):
        if graph is not None:  # else something else is wrong, which is said when it is assembled
            _room(counts, wanted - rank, blocks)
        controller = document.get("controller") or {}
        controller = {"kind": controller} if isinstance(controller, str) else controller
        document["controller"] = {"kind": _steering(blocks), **controller, "l0": wanted}
    elif gates:
        what = f"nothing here can bring the SAE to an L0 of {wanted:g}: no gate keeps a count, and no term of the loss moves sparsity"
        raise InvalidInput([Problem(f"{what}; add a penalty (`losses:`), or leave it out", FIELD)])
    _follow({gate.label: gate for gate in everywhere}, before, left, blocks)
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


def first_gates(graph: Graph | None) -> dict[str, list[str]]:
    """Returns the gates that only make the pre-activations of others, each with the gates of the dictionaries it stands before."""
    found: dict[str, list[str]] = {}
    if graph is None:
        return found
    speaking = {dictionary.name for dictionary in graph.dictionaries}
    for dictionary in graph.dictionaries:
        for label in dictionary.path:
            if graph.nodes[label].slot == "gate" and label not in speaking:
                found.setdefault(label, []).append(dictionary.name)
    return found


def _wired(document: Entry, blocks: Catalogue) -> Graph | None:
    """Returns a document's graph: what flows past every code in it (`dense_rank`, `ANY_WIDTH` at least where it is that of the activations)
    and what is made of each gate's.

    None for what is no legal SAE: what is wrong with it is said when it is parsed and assembled.
    """
    document = _copied(document)
    for gate in _gates(document.get("graph"), None, blocks):
        if setting := gate.setting(blocks):
            gate.entry[setting] = 1  # legal everywhere, and neither depends on it
    spec = validate(blocks.grammar.of_sae, document, "", [])
    return graph_at_any_width(spec, blocks) if spec is not None else None


def graph_at_any_width(spec: Any, blocks: Catalogue) -> Graph | None:
    """Returns the graph of an SAE spec on activations of whatever width, or None where its parts do not fit together."""
    try:
        return wire(spec, ANY_WIDTH, blocks)
    except InvalidInput:
        return None


def _possible(gates: list[_Gate], wanted: float, rank: int) -> None:
    """Refuses an L0 that paths past the codes use up, or that the latents there are cannot reach.

    Raises:
        InvalidInput: naming the rank, or the number of latents.
    """
    if rank and wanted - rank < 1:
        which = "the rank of the activations" if rank >= ANY_WIDTH else f"rank {rank}"
        what = f"paths past the codes have {which}, which counts as L0: of {wanted:g} nothing is left for the gates"
        raise InvalidInput([Problem(f"{what}; narrow or leave out the paths, or ask for more", FIELD)])
    widths = [gate.width for gate in gates]
    if widths and all(isinstance(width, int) for width in widths) and wanted - rank > sum(widths):
        most = f"the number of latents ({sum(widths)})" + (f" and the rank of paths past them ({rank})" if rank else "")
        raise InvalidInput([Problem(f"must be at most {most}; got {wanted:g}", FIELD)])


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
    return (entry for _, entry in _labelled(mapping, blocks))


def _labelled(mapping: Any, blocks: Catalogue) -> Iterator[tuple[str, Entry]]:
    """Yields the same with their labels."""
    if not isinstance(mapping, dict):
        return
    for label, written in mapping.items():
        entry = {"kind": written} if isinstance(written, str) else written
        if isinstance(entry, dict) and isinstance(entry.get("kind"), str) and entry["kind"] in blocks.blocks:
            mapping[label] = entry
            yield label, entry


def _gates(graph: Any, width: Any, blocks: Catalogue, prefix: str = "") -> Iterator[_Gate]:
    for label, entry in _labelled(graph, blocks):
        yield from _gates(entry.get("graph"), entry.get("width"), blocks, f"{prefix}{label}/")
        if blocks[entry["kind"]].slot == "gate":
            yield _Gate(prefix + label, entry, width)


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


def _follow(gates: dict[str, _Gate], before: dict[str, list[str]], left: float, blocks: Catalogue) -> None:
    """Gives first gates that keep a count that of the gate they stand before, the largest of several; where it keeps none, all that is
    `left` for the gates.

    One before several gates that keep none keeps its own count: how they share the L0, training will tell.
    """
    alone = len(gates) - len(before) == 1
    for label, names in before.items():
        entry, setting = gates[label].entry, gates[label].setting(blocks)
        after = [gates[name].entry for name in names if gates[name].setting(blocks)]
        given = _counts(after, blocks) if after else [max(round(left), 1)] if alone else None
        if setting and given:
            entry[setting] = max(given)


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
