"""Names of an SAE's inputs, and of the activations they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Tree = dict[str, Any]


def stands_for(inputs: Any, names: Sequence[str]) -> dict[str, str]:
    """Returns the name of the activations that each input stands for.

    Inputs that bear a name of the activations stand for themselves. Where none does and there are as many, they are taken in order:
    so a published recipe, whose inputs are called `early` and `late`, reads any two hook points. In all other cases nothing is renamed,
    and whoever opens the activations says what is wrong.
    """
    given = ["x"] if inputs is None else inputs
    if not isinstance(given, (list, tuple)) or not all(isinstance(name, str) for name in given):
        return {}  # a hole, or no list at all
    if {*given} & {*names} or len(given) != len(names):
        return {name: name for name in given}
    return dict(zip(given, names, strict=True))


def bound(tree: Tree, names: Sequence[str]) -> Tree:
    """Returns an SAE tree, with holes or without, whose inputs bear the names of the activations they stand for; wires with them.

    Written out so, a spec says by itself what it was trained on.
    """
    to = stands_for(tree.get("inputs"), names)
    if all(name == own for name, own in to.items()):
        return tree
    found = {**tree, "inputs": list(to.values())}
    if isinstance(tree.get("outputs"), Mapping):
        found["outputs"] = {to.get(target, target): _wires(signal, to) for target, signal in tree["outputs"].items()}
    return found | {part: _blocks(tree[part], to) for part in ("graph", "losses") if part in tree}


def _blocks(node: Any, to: Mapping[str, str]) -> Any:
    """Renames what blocks read; inside a nested graph `x` is what that block reads, so it is left as it is."""
    if isinstance(node, list):
        return [_blocks(each, to) for each in node]
    if not isinstance(node, Mapping):
        return node
    kept = {key: value for key, value in node.items() if key == "graph" and "kind" in node}
    renamed = {key: _wires(value, to) if key in ("from", "of") else _blocks(value, to) for key, value in node.items() if key not in kept}
    return {key: {**kept, **renamed}[key] for key in node}


def _wires(node: Any, to: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return to.get(node, node)
    if isinstance(node, list):
        return [_wires(each, to) for each in node]
    return {key: _wires(value, to) for key, value in node.items()} if isinstance(node, Mapping) else node
