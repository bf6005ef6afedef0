"""An SAE spec in a few words.

Gates come first, for they are what a reader compares; then whatever else is not as it would be by default. Nothing here knows a
block by name: slots, defaults and the setting that moves sparsity are asked of the catalogue.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from archsearch.blocks.catalogue import catalogue
from archsearch.spec.block import NestedSpec

_BUDGET = ("tokens", "batch", "seed", "data_seed")
"""Settings of training that say how long and in which order, not what is trained."""

_TOP_COMMA = re.compile(r", (?![^(\[]*[)\]])")
"""A comma outside brackets."""

_WIRES = ("kind", "from", "of")


def in_words(spec: dict[str, Any]) -> str:
    """Returns a short readable name of an SAE spec, such as `gated (straight_through), l1 7.2, lr 0.0012, width 512`."""
    graph = spec.get("graph") or {}
    parts = [*_graph(graph), *_losses(spec.get("losses") or {})]
    for name, slot in (
        ("scale", "input"),
        ("init", "init"),
        ("revival", "revival"),
        ("controller", "controller"),
        ("calibration", "calibration"),
    ):
        if spec.get(name) is not None:
            parts += _unless_plain(_entry(spec[name]), slot)
    parts += _training(spec.get("training") or {})
    if spec.get("width") is not None:
        parts.append(f"width {spec['width']}")
    return ", ".join([*parts, *_ops(graph)])


def telling(texts: Sequence[str]) -> list[str]:
    """Returns specs in words without what all of them have in common, so that a table says only what tells them apart.

    One of them alone, or one like all others, keeps its first words.
    """
    split = [_TOP_COMMA.split(text) for text in texts]
    common = set(split[0]).intersection(*split[1:]) if len(split) > 1 else set()
    return [", ".join([part for part in parts if part not in common] or parts[:1]) for parts in split]


def family(spec: dict[str, Any]) -> str:
    """Returns what a spec is compared as: its gates with their worded settings, numbers left out (`gated (straight_through)`)."""
    gates = [entry for entry in _flat(spec.get("graph") or {}) if _slot(entry["kind"]) == "gate"]
    named = [_with(entry["kind"], [text for text, value in _settings(entry) if isinstance(value, str)]) for entry in gates]
    return " + ".join(_counted(named)) or "no gate"


def _graph(graph: dict[str, Any]) -> list[str]:
    """Returns the words of a graph's blocks: gates and nested graphs, levels, then encoders and decoders that are not plain."""
    entries = [_entry(block) for block in graph.values()]
    first = [_nested(entry) if "graph" in entry else _block(entry) for entry in entries if _leads(entry)]
    levels = [_block(entry) for entry in entries if _slot(entry["kind"]) == "level"]
    rest = [entry for entry in entries if not _leads(entry) and _slot(entry["kind"]) not in ("level", "op")]
    other = [text for entry in rest for text in _unless_plain(entry, _slot(entry["kind"]))]
    return [*([" + ".join(_counted(first))] if first else []), *_counted([*levels, *other])]


def _ops(graph: dict[str, Any]) -> list[str]:
    """Returns the words of the blocks between the others, plumbing left out; they come last, being shared by most specs."""
    entries = [_entry(block) for block in graph.values()]
    return _counted(
        [text for entry in entries if not _leads(entry) and _slot(entry["kind"]) == "op" for text in _unless_plain(entry, "op")]
    )


def _leads(entry: dict[str, Any]) -> bool:
    return "graph" in entry or _slot(entry["kind"]) == "gate"


def _nested(entry: dict[str, Any]) -> str:
    inner = ", ".join([*_graph(entry["graph"]), *_ops(entry["graph"])])
    return f"{entry['kind']} {entry['width']} [{inner}]"


def _losses(losses: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for label, loss in losses.items():
        entry = _entry(loss)
        if label == "reconstruction" and not _settings(entry) and _plain_kind("loss") == entry["kind"]:
            continue
        weight = entry.get("weight", _default(entry["kind"], "weight"))
        head = f"{entry['kind']} {_number(weight)}" if weight is not None else entry["kind"]
        found.append(_with(head, [text for text, _ in _settings(entry, ("weight",))]))
    return _counted(found)


def _training(training: dict[str, Any]) -> list[str]:
    parts: list[str] = []
    for name in ("optimizer", "schedule"):
        if name in training:
            entry = _entry(training[name])
            plain = entry["kind"] == _plain_kind(name)
            parts += [text for text, _ in _settings(entry)] if plain else [_block(entry)]
    defaults = _fields(type(_grammar().sae.model_fields["training"].get_default(call_default_factory=True)))
    rest = {key: value for key, value in training.items() if key not in (*_BUDGET, "optimizer", "schedule")}
    return [*parts, *[_setting(key, value) for key, value in rest.items() if value != defaults.get(key)]]


def _unless_plain(entry: dict[str, Any], slot: str | None) -> list[str]:
    """Returns the words of a block, none where it is its slot's plain kind (or mere plumbing) with nothing changed."""
    known = catalogue().blocks.get(entry["kind"])
    plumbing = known is not None and known.paper is None
    plain = plumbing or (slot not in (None, "op") and entry["kind"] == _plain_kind(slot or ""))
    return [] if plain and not _settings(entry) else [_block(entry)]


def _block(entry: dict[str, Any]) -> str:
    return _with(entry["kind"], [text for text, _ in _settings(entry)])


def _settings(entry: dict[str, Any], without: Iterable[str] = ()) -> list[tuple[str, Any]]:
    """Returns words and value of every setting that differs from its default; the one that moves sparsity always."""
    kind = entry["kind"]
    moving = getattr(catalogue().blocks.get(kind), "sparsity", None)
    found: list[tuple[str, Any]] = []
    if isinstance(moving, str) and moving not in entry and _default(kind, moving) is not None:
        entry = {**entry, moving: _default(kind, moving)}
    for name, value in entry.items():
        known = name in _known(kind)
        if name in _WIRES or name in without or (known and value == _default(kind, name) and name != moving):
            continue
        found.append((_setting(name, value), value))
    return found


def _setting(name: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return name if value else f"no {name}"
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return f"{name} {' '.join(_number(item) for item in value)}"
    return f"{name} {_number(value)}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _with(head: str, details: list[str]) -> str:
    return f"{head} ({', '.join(details)})" if details else head


def _counted(texts: list[str]) -> list[str]:
    """Returns texts in order with repeats said once: `2 x text`."""
    return [text if count == 1 else f"{count} x {text}" for text, count in Counter(texts).items()]


def _entry(block: Any) -> dict[str, Any]:
    return {"kind": block} if isinstance(block, str) else dict(block)


def _flat(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the blocks of a graph and of those nested in it, in order."""
    found: list[dict[str, Any]] = []
    for block in graph.values():
        entry = _entry(block)
        found += _flat(entry["graph"]) if "graph" in entry else [entry]
    return found


def _grammar() -> Any:
    return catalogue().grammar


def _slot(kind: str) -> str | None:
    return _grammar().slot_of(kind)


def _plain_kind(slot: str) -> str:
    """Returns the kind a slot names as plain, or its default; where it has neither, the kind with the fewest settings (first by name)."""
    found = catalogue()
    kinds = found.slots.get(slot, {})
    for kind in kinds:
        block = found.blocks[kind]
        if named := block.plain_kind or block.default_kind:
            return named
    own = {kind: len(spec.model_fields) for kind, spec in kinds.items() if not issubclass(spec, NestedSpec)}
    return min(own, key=lambda kind: (own[kind], kind), default="")


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Returns defaults by name as a spec writes them, for fields that have one."""
    return {
        field.alias or name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def _known(kind: str) -> dict[str, Any]:
    found = catalogue().blocks.get(kind)
    return _fields(found.Spec) if found else {}


def _default(kind: str, name: str) -> Any:
    return _known(kind).get(name)
