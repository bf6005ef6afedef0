"""The settings of an SAE spec by path: what two SAEs may differ in, without wires, outputs and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archsearch.blocks.catalogue import catalogue
from archsearch.spec.differences import leaves

Document = dict[str, Any]

_WIRES = ("from", "of")
_APART = ("inputs", "outputs", "training.seed", "training.data_seed")
"""What a spec holds that is no choice of an architecture or of its training."""


def settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Returns every setting of a resolved spec by its dotted path, `graph.gate.kind` and `training.optimizer.lr` among them.

    Lists are leaves; wires are left out, since a block that is gone takes them with it.
    """
    found = {}
    for path, value in leaves(spec):
        steps = path.split(".")
        if not any(step in _WIRES for step in steps) and not any(path == apart or path.startswith(f"{apart}.") for apart in _APART):
            found[path] = value
    return found


def sparsity_settings(spec: Mapping[str, Any]) -> set[str]:
    """Returns the paths of the settings that move sparsity or ask for an L0, nested graphs included."""
    return {f"{path}.{name}" for path, entry in blocks_of(spec) for name in _moving(entry["kind"]) if name in entry}


def blocks_of(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Document]]:
    """Yields the blocks of a resolved spec by path: of its graph and those nested in it, its losses, and what stands by itself."""
    for part in ("graph", "losses"):
        for label, entry in (spec.get(part) or {}).items():
            path = f"{prefix}{part}.{label}"
            entry = {"kind": entry} if isinstance(entry, str) else entry
            yield path, entry
            if "graph" in entry:
                yield from blocks_of({"graph": entry["graph"]}, f"{path}.")
    for place, tree in (("", spec), ("training.", spec.get("training") or {})):
        for name, entry in tree.items():
            if isinstance(entry, dict) and isinstance(entry.get("kind"), str):
                yield f"{prefix}{place}{name}", entry


def _moving(kind: str) -> set[str]:
    block = catalogue().blocks.get(kind)
    return {name for name in (block.sparsity, block.l0_setting) if name} if block is not None else set()


def varied(specs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the settings of each spec that are not the same in all of them; a setting one lacks is not there."""
    found = [settings(spec) for spec in specs]
    paths = list(dict.fromkeys(path for each in found for path in each))
    apart = [path for path in paths if len({_spelled(each[path]) if path in each else None for each in found}) > 1]
    return [{path: each[path] for path in apart if path in each} for each in found]


def _spelled(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"
