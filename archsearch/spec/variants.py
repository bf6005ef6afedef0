"""Variants: named branches, each setting several paths of the SAE tree together (a gate and the loss it needs).

`variants:` holds groups `{oneof: {branch: {dotted.path: value, ...}}}`, with `prior: branch` beside `oneof` where its author expects one
to be good. A value replaces what stood at its path whole; mappings on the way are made where missing; a block written short
(`encoder: linear_encoder`) is written out where a path goes into it; a label new to the graph is put at its end. Null takes an entry out of
`graph` or `losses`; elsewhere it is the value null. Two groups that touch one path are refused, for what a trial is must not depend on
their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from archsearch.errors import Problem
from archsearch.spec.holes import VALUES, ChoiceHole, OneOf, Repeat, check_name, choice_prior, read_tree, sorted_items
from archsearch.spec.yaml import Key, dotted


@dataclass(frozen=True)
class Patch:
    """One path of the SAE tree and what a branch puts there; `written` is where that stands in the file."""

    path: tuple[str, ...]
    value: Any
    written: Key


@dataclass(frozen=True)
class Group:
    """One `variants` group: patches by branch."""

    name: str
    branches: dict[str, tuple[Patch, ...]]
    prior: tuple[str, ...] = ()

    @property
    def tags(self) -> ChoiceHole:
        """The categorical that picks the branch."""
        return ChoiceHole(tuple(sorted(self.branches)), self.prior)

    def touching(self, path: Key) -> list[str]:
        """Returns the branches that replace what stands at `path`, sorted."""
        return sorted(b for b, patches in self.branches.items() if any(path[: len(p.path)] == p.path for p in patches))


def read_variants(raw: Any, problems: list[Problem]) -> tuple[Group, ...]:
    """Returns the groups written under `variants:`; what is wrong goes to `problems`."""
    root: Key = ("variants",)
    if not isinstance(raw, dict):
        problems.append(Problem(f"must map names of groups to `{{oneof: ...}}`; got {raw!r}", dotted(root)))
        return ()
    groups = []
    for name, node in raw.items():
        path = (*root, name)
        check_name(name, "a variants group", path, problems)
        branches = node.get("oneof") if isinstance(node, dict) else None
        if not isinstance(branches, dict) or not branches or set(node) - {"prior"} != {"oneof"}:
            problems.append(Problem(f"must be `{{oneof: {{branch: {{path: value}}}}}}`; got {node!r}", dotted(path)))
            continue
        for branch in branches:
            check_name(branch, "a branch", (*path, "oneof", branch), problems)
        read = {b: _read_branch(patches, (*path, "oneof", b), problems) for b, patches in branches.items()}
        groups.append(Group(name, read, choice_prior(node, sorted(branches), path, problems)))
    return tuple(groups)


def _read_branch(patches: Any, path: Key, problems: list[Problem]) -> tuple[Patch, ...]:
    if patches is None:
        return ()  # `plain:` with nothing after it is the branch that changes nothing
    if not isinstance(patches, dict):
        problems.append(Problem(f"a branch must map paths of the SAE to values (`graph.gate: topk`); got {patches!r}", dotted(path)))
        return ()
    found = []
    for text, value in patches.items():
        steps = tuple(text.split("."))
        if not all(steps):
            problems.append(Problem(f"must be a path such as `graph.gate.k`; got {text!r}", dotted((*path, text))))
        if steps[0] == "sae":
            below = text.removeprefix("sae").removeprefix(".") or "graph.gate"
            problems.append(Problem(f"paths start below `sae`: write `{below}`; got {text!r}", dotted((*path, text))))
        in_graph = len(steps) > 1 and steps[-2] == "graph"
        found.append(Patch(steps, read_tree(value, (*path, text), problems, in_graph), (*path, text)))
    return tuple(found)


def check_patches(tree: dict[str, Any], groups: Sequence[Group], root: Key, problems: list[Problem]) -> None:
    """Refuses patches that meet each other, or a structure hole, or that lead nowhere; what is wrong goes to `problems`."""
    for group in groups:
        for branch, patches in group.branches.items():
            for one, other in combinations(patches, 2):
                if _meet(one.path, other.path):
                    what = f"branch {branch!r} of {group.name!r} sets both {dotted(one.path)} and {dotted(other.path)}; keep one"
                    problems.append(Problem(what, dotted(other.written)))
            for patch in patches:
                _check_path(tree, patch, root, problems)
    for one, other in combinations(groups, 2):
        problems += _clashes(one, other)


def _clashes(one: Group, other: Group) -> list[Problem]:
    """Returns a problem for each pair of branches of two groups that touch one path; the first of each path is enough."""
    found: dict[tuple[str, str], Problem] = {}
    for mine, patches in one.branches.items():
        for theirs, others in other.branches.items():
            for a in patches:
                for b in others:
                    if _meet(a.path, b.path):
                        what = (
                            f"the variants {other.name!r} (branch {theirs!r}) and {one.name!r} (branch {mine!r}) touch one path: "
                            f"{dotted(b.path)} and {dotted(a.path)}; put both into one group, or split what they set"
                        )
                        found.setdefault((dotted(a.path), dotted(b.path)), Problem(what, dotted(b.written)))
    return list(found.values())


def _meet(one: Key, other: Key) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _check_path(tree: Any, patch: Patch, root: Key, problems: list[Problem]) -> None:
    node = tree
    for depth, step in enumerate(patch.path):
        if isinstance(node, (*VALUES, OneOf, Repeat, list, int, float)):
            at = dotted((*root, *patch.path[:depth]))
            what = "a hole" if isinstance(node, (*VALUES, OneOf, Repeat)) else repr(node)
            problems.append(Problem(f"{dotted(patch.path)} goes through {at}, which is {what}, not a mapping", dotted(patch.written)))
            return
        node = node.get(step) if isinstance(node, dict) else None
    inside = _structure(node, patch.path)
    if inside is not None:
        what = f"{dotted(patch.path)} would replace the hole at {dotted((*root, *inside))}; make that a branch of this group instead"
        problems.append(Problem(what, dotted(patch.written)))


def _structure(node: Any, path: Key) -> Key | None:
    """Returns the path of the first structure hole at or below `node`."""
    if isinstance(node, (OneOf, Repeat)):
        return path
    below = (_structure(entry, (*path, key)) for key, entry in sorted_items(node))
    return next((found for found in below if found), None)
