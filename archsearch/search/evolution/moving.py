"""Moves one setting of a block."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from archsearch.search.evolution.change import Change, shuffled
from archsearch.search.evolution.documents import ALWAYS, Document, Entry, dotted, entries
from archsearch.search.evolution.material import Material
from archsearch.search.evolution.parent import Parent, is_nested, settings_in
from archsearch.search.evolution.replacing import replaced
from archsearch.spec.holes import ChoiceHole, ValueHole, is_number

FAR, LEAST = 3.0, 0.2
"""How far a number moves at most, as a factor, and the least share of that on a log scale: less would hardly be another SAE."""

SHARE = 1 / 3
"""How far a number moves at most in a hole that is not logarithmic, as a share of it."""

DIGITS = 3
"""Significant digits of a number that has moved, as of one that a hole was filled with."""

BESIDE = ("scale", "init", "revival", "calibration", "training.optimizer", "training.schedule")
"""Paths of the blocks that stand beside the graph and the loss."""


def moves(parent: Parent, mate: Parent | None, material: Material, draw: random.Random) -> Iterator[Change]:
    """Yields a parent with one setting moved: a number by a factor of at most `FAR`, a word or a truth value to another one.

    Where the space has a hole for that setting of that kind, it stays within the hole and moves on its scale. Other settings of the graph
    and of the loss move within the bounds of their fields; of what stands beside them, the learning rate among it, only what the space
    opens. What moves sparsity stays: the L0 asked for decides there.
    """
    document = parent.document
    for label, entry, apart, name in shuffled(list(_movable(parent, material)), draw):
        field = material.blocks[entry["kind"]].Spec.model_fields[name]
        value = _moved(entry[name], field, material.holes.get((entry["kind"], name), []), draw)
        if value == entry[name]:
            continue
        how = f"set {dotted(label)}.{name}: {_worded(entry[name])} -> {_worded(value)}"
        if apart:
            yield Change(how, _with(document, label.split("."), {**entry, name: value}))
        elif changed := replaced(parent, label, entry["kind"], {**settings_in(entry), name: value}, material):
            yield Change(how, parent.child(changed))


def _movable(parent: Parent, material: Material) -> Iterator[tuple[str, Entry, bool, str]]:
    """Yields every setting that may move: its block's label or path, the block, whether that stands beside the graph, and its name."""
    document, blocks = parent.document, material.blocks
    inside = [(label, entry, False) for label, entry in entries(document) if not is_nested(entry["kind"], blocks)]
    beside = [(path, entry, True) for path in BESIDE if (entry := _at(document, path)) is not None]
    for label, entry, apart in (*inside, *beside):
        block = blocks[entry["kind"]]
        stays = ("kind", block.sparsity, block.l0_setting, *(["weight"] if label == ALWAYS else []))  # the others are weighed against it
        for name in block.Spec.model_fields:
            if name in entry and name not in stays and (not apart or (entry["kind"], name) in material.holes):
                yield label, entry, apart, name


def _at(document: Document, path: str) -> Entry | None:
    found: Any = document
    for step in path.split("."):
        found = found[step]
    return found


def _with(document: Document, steps: list[str], value: Any) -> Document:
    first, *rest = steps
    return {**document, first: _with(document[first], rest, value) if rest else value}


def _moved(value: Any, field: FieldInfo, holes: Sequence[ValueHole], draw: random.Random) -> Any:
    """Returns another value of a setting, the same where there is none to move to."""
    hole = draw.choice(holes) if holes else None
    words = _words(value, field, hole)
    if words is not None:
        others = [word for word in words if word != value]
        return draw.choice(others) if others else value
    if isinstance(hole, ChoiceHole) or not is_number(value):
        return value
    low, high = (hole.low, hole.high) if hole is not None else _bounds(field)
    share = draw.choice((-1, 1)) * draw.uniform(LEAST, 1)
    moved = value * FAR**share if hole is None or hole.log else value + (hole.high - hole.low) * SHARE * share
    if hole is not None:
        moved = min(max(moved, low), high)
    elif not low < moved < high:
        moved = (value + (low if moved <= low else high)) / 2  # a bound may itself be out of reach
    if isinstance(value, int) and float not in (get_args(field.annotation) or (field.annotation,)):
        whole = round(moved)
        return whole if whole != value else _next(value, 1 if moved > value else -1, low, high)
    return float(f"{moved:.{DIGITS}g}")


def _next(value: int, step: int, low: float, high: float) -> int:
    """Returns the whole number next to one, which a factor alone would not leave; the same at a bound."""
    return value + step if low <= value + step <= high else value


def _words(value: Any, field: FieldInfo, hole: ValueHole | None) -> Sequence[Any] | None:
    """Returns every value a setting may have that can be listed; None where it is a number."""
    if isinstance(hole, ChoiceHole):
        return hole.values
    if isinstance(value, bool):
        return (True, False)
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else None


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """Returns the bounds of a number's field, infinite where it has none."""
    bounds = {name: float(getattr(rule, name)) for rule in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)}
    low = bounds.get("ge", bounds.get("gt", float("-inf")))
    return low, bounds.get("le", bounds.get("lt", float("inf")))


def _worded(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
