"""Templates: a tree with holes and the variants that patch it, and how both are filled.

Names of parameters are a function of where a hole stands, never of order, and carry every branch they depend on:

    training.optimizer.lr        a value hole of the SAE
    graph.gate                   which branch a `oneof` there takes; inside: graph.gate@topk.k
    graph.extra                  how often a `repeat` there stands; inside the second copy: graph.extra@2.hidden
    gate                         which branch the variants group `gate` takes; inside: gate@topk.graph.gate.k
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.holes import (
    VALUES,
    ChoiceHole,
    IntHole,
    OneOf,
    Primitive,
    Repeat,
    Suggest,
    ValueHole,
    read_tree,
    sorted_items,
)
from archsearch.spec.variants import Group, Patch, check_patches, read_variants
from archsearch.spec.yaml import Key, dotted

_REMOVABLE = ("graph", "losses")
"""Mappings of labels, out of which null takes an entry."""


@dataclass(frozen=True)
class Parameter:
    """One hole by name, and when it is there: every parameter named in `condition` has one of the values listed."""

    name: str
    hole: ValueHole
    condition: dict[str, tuple[Primitive, ...]]
    written: Key
    counts: bool = False
    """Whether it counts the copies of a `repeat`."""

    @property
    def discrete(self) -> bool:
        """Whether its values can be listed."""
        return isinstance(self.hole, ChoiceHole) or self.counts

    def values(self) -> list[Primitive]:
        """Returns every value of a discrete parameter, else low, middle and high."""
        if self.counts and isinstance(self.hole, IntHole):
            return list(range(self.hole.low, self.hole.high + 1))
        return list(self.hole.values) if isinstance(self.hole, ChoiceHole) else list(self.hole.spread(3))


@dataclass(frozen=True)
class Filled:
    """A document without holes, and what was put into them.

    `params`: values by name; `path_of`: place of each value hole in the document; `written`: place in the file of every node.
    """

    document: dict[str, Any]
    params: dict[str, Primitive]
    path_of: dict[str, Key]
    written: dict[Key, Key] = field(repr=False)

    def locate(self, path: str) -> str:
        """Returns where in the file a path of the document (dotted) was written: in the branch that was taken."""
        places = {dotted(doc): place for doc, place in self.written.items()}
        steps = path.split(".") if path else []
        for cut in range(len(steps), -1, -1):
            place = places.get(".".join(steps[:cut]))
            if place is not None:
                return ".".join([*map(str, place), *steps[cut:]])
        return path


@dataclass(frozen=True)
class _Graft:
    """A patch in its place in the tree."""

    patch: Patch
    name: str


@dataclass(frozen=True)
class Template:
    """A tree with holes, and the variants that patch it; `root` is where the tree stands in its file."""

    tree: dict[str, Any]
    groups: tuple[Group, ...] = ()
    root: Key = ("sae",)

    @staticmethod
    def read(sae: Any, variants: Any = None, root: Key = ("sae",)) -> Template:
        """Reads an SAE tree with holes and its variants.

        Raises:
            InvalidInput: with every problem and its path in the file.
        """
        problems: list[Problem] = []
        if not isinstance(sae, dict):
            problems.append(Problem(f"an SAE must be a mapping (`width`, `graph`, ...); got {sae!r}", dotted(root)))
        tree = read_tree(sae, root, problems) if isinstance(sae, dict) else {}
        groups = read_variants({} if variants is None else variants, problems)
        if tree:
            check_patches(tree, groups, root, problems)
        if problems:
            raise InvalidInput(problems)
        template = Template(tree, groups, root)
        template.parameters()
        return template

    def parameters(self) -> dict[str, Parameter]:
        """Returns every hole by name, structure before what depends on it.

        Raises:
            InvalidInput: two holes bear one name, or a hole can never act.
        """
        problems: list[Problem] = []
        found: dict[str, Parameter] = {}
        for parameter in self._walk_all(problems):
            if parameter.name in found:
                other = dotted(found[parameter.name].written)
                what = f"two holes would bear the name {parameter.name!r} (the other: {other}); rename one"
                problems.append(Problem(what, dotted(parameter.written)))
            found[parameter.name] = parameter
        if problems:
            raise InvalidInput(problems)
        return found

    def _walk_all(self, problems: list[Problem]) -> Iterator[Parameter]:
        for group in sorted(self.groups, key=lambda g: g.name):
            yield Parameter(group.name, group.tags, {}, ("variants", group.name))
        for group in sorted(self.groups, key=lambda g: g.name):
            for branch, patches in sorted(group.branches.items()):
                for patch in patches:
                    name = _graft_name(group, branch, patch)
                    yield from self._walk(patch.value, None, patch.written, name, {group.name: (branch,)}, problems)
        yield from self._walk(self.tree, (), self.root, "", {}, problems)

    def _walk(
        self, node: Any, doc: Key | None, written: Key, name: str, condition: dict[str, Any], problems: list[Problem]
    ) -> Iterator[Parameter]:
        """Yields the holes below `node`; `doc` is its path while patches may still replace it, else None."""
        if doc and isinstance(node, VALUES):
            condition = condition | self._survives(doc, written, problems)
        if isinstance(node, VALUES):
            yield Parameter(name, node, condition, written)
        elif isinstance(node, OneOf):
            yield Parameter(name, node.tags, condition, written)
            for branch, value in sorted(node.branches.items()):
                place = (*written, "oneof", branch)
                yield from self._walk(value, None, place, f"{name}@{branch}", condition | {name: (branch,)}, problems)
        elif isinstance(node, Repeat):
            yield Parameter(name, node.count, condition, written, counts=True)
            for copy in range(1, node.max + 1):
                there = condition | {name: tuple(range(max(copy, node.min), node.max + 1))}
                yield from self._walk(node.block, None, (*written, "repeat"), f"{name}@{copy}", there, problems)
        else:
            for key, entry in sorted_items(node):
                inner = None if doc is None else (*doc, key)
                yield from self._walk(entry, inner, (*written, key), _join(name, key), condition, problems)

    def _survives(self, doc: Key, written: Key, problems: list[Problem]) -> dict[str, tuple[Primitive, ...]]:
        """Returns the branches of each group that leave what stands at `doc` alone."""
        condition: dict[str, tuple[Primitive, ...]] = {}
        for group in self.groups:
            gone = group.touching(doc)
            if len(gone) == len(group.branches):
                what = f"this hole can never act: every branch of the variants group {group.name!r} replaces it; take it out"
                problems.append(Problem(what, dotted(written)))
            if gone:
                condition[group.name] = tuple(sorted(set(group.branches) - set(gone)))
        return condition

    def fill(self, suggest: Suggest) -> Filled:
        """Returns the document with every hole that is there filled by `suggest`, asked in an order of its own."""
        return _Filling(suggest, self.root).run(self)

    def refill(self, params: Mapping[str, Any]) -> Filled:
        """Returns the document that `params` stand for: the very one they came from.

        Raises:
            InvalidInput: a value is missing, unknown or outside its hole.
        """
        filled = self.fill(_Stored(params))
        unknown = sorted(set(params) - set(filled.params))
        if unknown:
            raise InvalidInput([f"no hole {name!r} is there; {nearest(name, list(filled.params))}" for name in unknown])
        return filled


class _Stored:
    """Suggests what was suggested before."""

    def __init__(self, params: Mapping[str, Any]):
        self._params = params

    def _get(self, name: str) -> Any:
        if name not in self._params:
            raise InvalidInput([f"no value for the hole {name!r}; {nearest(name, list(self._params))}"])
        return self._params[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return self._get(name)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return self._get(name)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._get(name)


class _Filling:
    """One pass over a template."""

    def __init__(self, suggest: Suggest, root: Key):
        self._suggest, self._root = suggest, root
        self._params: dict[str, Primitive] = {}
        self._path_of: dict[str, Key] = {}
        self._written: dict[Key, Key] = {}

    def run(self, template: Template) -> Filled:
        tree = template.tree
        for group in sorted(template.groups, key=lambda g: g.name):
            branch = str(self._value(group.name, group.tags))
            for patch in group.branches[branch]:
                tree = _set(tree, patch.path, _Graft(patch, _graft_name(group, branch, patch)))
        return Filled(self._node(tree, (), self._root, ""), self._params, self._path_of, self._written)

    def _value(self, name: str, hole: ValueHole) -> Primitive:
        self._params[name] = hole.suggest(name, self._suggest)
        return self._params[name]

    def _node(self, node: Any, doc: Key, written: Key, name: str) -> Any:
        if isinstance(node, _Graft):
            return self._node(node.patch.value, doc, node.patch.written, node.name)
        self._written[doc] = written
        if isinstance(node, VALUES):
            self._path_of[name] = doc
            return self._value(name, node)
        if isinstance(node, OneOf):
            branch = str(self._value(name, node.tags))
            return self._node(node.branches[branch], doc, (*written, "oneof", branch), f"{name}@{branch}")
        if isinstance(node, dict):
            return self._mapping(node, doc, written, name)
        if isinstance(node, list):
            return [self._node(entry, (*doc, i), (*written, i), _join(name, i)) for i, entry in enumerate(node)]
        return node

    def _mapping(self, node: dict[str, Any], doc: Key, written: Key, name: str) -> dict[str, Any]:
        # Suggested in sorted order, so that the order of keys changes no study; written in the order of the file.
        made = {key: self._entry(key, entry, doc, (*written, key), _join(name, key)) for key, entry in sorted(node.items())}
        found: dict[str, Any] = {}
        for key in node:
            for label, value in made[key].items():
                if label in found or (label != key and label in node):
                    what = f"the copies of {key!r} need the label {label!r}, which another block bears; rename that one"
                    raise InvalidInput([Problem(what, dotted((*written, key)))])
                found[label] = value
        if doc and doc[-1] in _REMOVABLE:
            found = {label: value for label, value in found.items() if value is not None}
        return found

    def _entry(self, key: str, node: Any, doc: Key, written: Key, name: str) -> dict[str, Any]:
        """Returns what one entry becomes: itself, or the copies of a repeated block."""
        if isinstance(node, _Graft):
            return self._entry(key, node.patch.value, doc, node.patch.written, node.name)
        if isinstance(node, OneOf):  # a branch may be a repeat
            branch = str(self._value(name, node.tags))
            return self._entry(key, node.branches[branch], doc, (*written, "oneof", branch), f"{name}@{branch}")
        if not isinstance(node, Repeat):
            return {key: self._node(node, (*doc, key), written, name)}
        self._written[*doc, key] = written
        self._params[name] = count = node.count.suggest(name, self._suggest)
        copies = range(1, count + 1)
        return {f"{key}_{i}": self._node(node.block, (*doc, f"{key}_{i}"), (*written, "repeat"), f"{name}@{i}") for i in copies}


def _set(node: Any, steps: tuple[str, ...], graft: _Graft) -> Any:
    """Returns a copy of `node` with `graft` at the end of `steps`."""
    if not steps:
        return graft
    if isinstance(node, _Graft):
        return _Graft(replace(node.patch, value=_set(node.patch.value, steps, graft)), node.name)
    if node is None:  # a mapping made for the patch is written where the patch is
        return _Graft(replace(graft.patch, value={steps[0]: _set(None, steps[1:], graft)}), graft.name)
    # A block written short is its kind; a path into it needs it written out.
    here = dict(node) if isinstance(node, dict) else {"kind": node}
    here[steps[0]] = _set(here.get(steps[0]), steps[1:], graft)
    return here


def _graft_name(group: Group, branch: str, patch: Patch) -> str:
    return f"{group.name}@{branch}.{dotted(patch.path)}"


def _join(name: str, key: str | int) -> str:
    return f"{name}.{key}" if name else str(key)
