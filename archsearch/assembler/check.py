"""Checks a space before anything is trained: fills its corners and random points, assembles each, and says what is wrong where."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse, parse_graph
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.block import NestedSpec
from archsearch.spec.hashes import canonical
from archsearch.spec.space import Space, corners
from archsearch.spec.template import Filled, Template
from archsearch.spec.yaml import dotted, located


@dataclass(frozen=True)
class Checked:
    """What a check did: documents assembled, and the holes swept over that it met (`None` in it: a structure that has none)."""

    assembled: int
    swept: tuple[str | None, ...]


@dataclass(frozen=True)
class _Found:
    """A problem of one filled document, its path that of the file."""

    problem: Problem
    params: dict[str, Any]


def check_space(
    space: Space,
    *,
    model: int,
    blocks: Catalogue | None = None,
    recipes: Mapping[str, Any] | None = None,
    fills: int = 20,
    seed: int = 0,
) -> Checked:
    """Assembles corners and random fills of a space, and of its baselines, on the meta device.

    Args:
        space: the space.
        model: width of the activations (count).
        blocks: the catalogue; all blocks by default.
        recipes: SAE trees by name, for baselines given by name; without them names are not checked.
        fills: random fills of the space and of each baseline (count).
        seed: seed of the random fills.

    Raises:
        InvalidInput: every distinct problem once, with the line of the branch that was active.
    """
    blocks = blocks or catalogue()
    check = _Check(space, model, blocks)
    check.template(space.template, fills, seed)
    trees, problems = _baselines(space, recipes)
    for place, tree in trees.items():
        try:
            check.template(Template.read(tree, root=("baselines", place)), fills, seed)
        except InvalidInput as error:
            problems += error.problems
    problems = [*check.problems, *problems]
    if problems:
        raise InvalidInput(sorted(located(problems, space.source.marks, space.source.file), key=lambda p: p.line or 0))
    return Checked(check.assembled, tuple(dict.fromkeys(check.swept)))


def _baselines(space: Space, recipes: Mapping[str, Any] | None) -> tuple[dict[Any, Any], list[Problem]]:
    """Returns the trees of the baselines by place in the file, and a problem for every name no recipe bears."""
    if isinstance(space.baselines, dict):
        return {**space.baselines}, []
    if recipes is None:
        return {}, []
    known = {place: recipes[name] for place, name in enumerate(space.baselines) if name in recipes}
    unknown = [(place, name) for place, name in enumerate(space.baselines) if name not in recipes]
    return known, [Problem(f"no recipe {name!r}; {nearest(name, list(recipes))}", f"baselines.{place}") for place, name in unknown]


class _Check:
    """Collects the problems of a space's templates."""

    def __init__(self, space: Space, model: int, blocks: Catalogue):
        self.space, self.model, self.blocks = space, model, blocks
        self.fields = {kind: block.sparsity for kind, block in blocks.blocks.items() if getattr(block, "sparsity", "")}
        self.problems: list[Problem] = []
        self.assembled = 0
        self.swept: list[str | None] = []

    def template(self, template: Template, fills: int, seed: int) -> None:
        """Checks every corner and some random fills of one template."""
        discrete = {name for name, parameter in template.parameters().items() if parameter.discrete}
        found: list[_Found] = []
        seen: list[dict[str, Any]] = []
        reach: dict[str, _Reach] = {}
        try:
            known = corners(template)
            drawn = [template.fill(_Random(f"{seed}/{index}")) for index in range(fills)]
        except InvalidInput as error:  # labels of repeated blocks that collide
            self.problems += error.problems
            return
        for index, filled in enumerate([*known, *drawn]):
            structure = {name: value for name, value in filled.params.items() if name in discrete}
            seen.append(structure)
            problems, spec, hole = self._document(filled)
            found += [_Found(problem, structure) for problem in problems]
            if spec is not None and index < len(known):  # corners hold both ends of every range, random fills may not
                reach.setdefault(canonical(structure), _Reach(structure)).widen(_l0_range(spec, self.blocks), filled, hole)
        found += [_Found(problem, r.structure) for r in reach.values() if (problem := r.problem(self.space.study.band))]
        self.problems += _distinct(found, seen, template)

    def _document(self, filled: Filled) -> tuple[list[Problem], Any, str | None]:
        """Returns the problems of one document, and its spec and the hole it is swept over where there is none."""
        try:
            spec = parse(filled.document, self.blocks)
            assemble(spec, model=self.model, device="meta", blocks=self.blocks)
        except InvalidInput as error:
            return [replace(p, path=filled.locate(p.path)) for p in error.problems], None, None
        self.assembled += 1
        try:
            hole = self.space.sparsity_hole(filled, self.fields)
        except InvalidInput as error:
            return error.problems, None, None
        self.swept.append(hole)
        return [], spec, hole


class _Random:
    """Draws every hole at random; the name takes part in the seed, so that one hole's draw says nothing of another's."""

    def __init__(self, seed: str):
        self._seed = seed

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        share = random.Random(f"{self._seed}/{name}").random()
        value = math.exp(math.log(low) + share * math.log(high / low)) if log else low + share * (high - low)
        return min(max(value, low), high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        value = self.suggest_float(name, low, high + 1, log=log)
        return min(int(value), high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return random.Random(f"{self._seed}/{name}").choice(choices)


@dataclass
class _Reach:
    """Effective L0 a structure can have, as far as its settings alone tell."""

    structure: dict[str, Any]
    low: float = math.inf
    high: float = -math.inf
    known: bool = True
    path: str = "study.band"

    def widen(self, reach: tuple[float, float] | None, filled: Filled, hole: str | None) -> None:
        if hole is not None:
            self.path = filled.locate(dotted(filled.path_of[hole]))
        if reach is None:
            self.known = False
        else:
            self.low, self.high = min(self.low, reach[0]), max(self.high, reach[1])

    def problem(self, band: tuple[float, float]) -> Problem | None:
        if not self.known or (self.low <= band[1] and self.high >= band[0]):
            return None
        what = f"effective L0 would lie between {self.low:g} and {self.high:g}, outside the band {[*band]} of the study"
        return Problem(f"{what}: no SAE of this branch could reach the front; change the range, or `study.band`", self.path)


def _l0_range(spec: Any, blocks: Catalogue) -> tuple[float, float] | None:
    """Returns the range of effective L0 of all gates together, or None where one of them cannot tell without training."""
    ranges = [_range_of(gate, blocks) for gate in _gates(spec.graph, "graph", blocks)]
    known = [found for found in ranges if found is not None]
    if not ranges or len(known) < len(ranges):
        return None
    return sum(low for low, _ in known), sum(high for _, high in known)


def _range_of(spec: Any, blocks: Catalogue) -> tuple[float, float] | None:
    tell = getattr(blocks[spec.kind], "l0_range", None)
    return tell(spec) if tell else None


def _gates(graph: Mapping[str, Any], path: str, blocks: Catalogue) -> Iterable[Any]:
    for label, spec in graph.items():
        inner = f"{path}.{label}.graph"
        if isinstance(spec, NestedSpec):
            yield from _gates(parse_graph(spec.graph, inner, blocks), inner, blocks)
        elif blocks[spec.kind].slot == "gate":
            yield spec


_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def _distinct(found: list[_Found], seen: list[dict[str, Any]], template: Template) -> list[Problem]:
    """Returns each problem once, whatever numbers were drawn, saying under which branches it arises."""
    alike: dict[tuple[str, str], list[_Found]] = {}
    for item in found:
        alike.setdefault((item.problem.path, _NUMBER.sub("#", item.problem.what)), []).append(item)
    problems = []
    for items in alike.values():
        failed = [item.params for item in items]
        passed = [structure for structure in seen if structure not in failed]
        problem = items[0].problem
        said = {name for name, value in failed[0].items() if _says(problem.path, template, name, value)}
        when = {name: value for name, value in _cause(failed, passed).items() if name not in said}
        clause = f" (when {', '.join(f'{name}={value}' for name, value in when.items())})" if when else ""
        problems.append(replace(problem, what=problem.what + clause))
    return problems


def _cause(failed: list[dict[str, Any]], passed: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the fewest picks that every failed structure shares and no other has all of; none where picks do not tell."""
    shared = {name: value for name, value in failed[0].items() if all(name in f and f[name] == value for f in failed)}

    def tells(picks: dict[str, Any]) -> bool:
        return not any(all(name in p and p[name] == value for name, value in picks.items()) for p in passed)

    if not passed or not tells(shared):
        return {}
    for name in list(shared):
        fewer = {other: value for other, value in shared.items() if other != name}
        if fewer and tells(fewer):
            shared = fewer
    return shared


def _says(path: str, template: Template, name: str, value: Any) -> bool:
    """Tells whether the path of a problem names the branch itself."""
    place = dotted((*template.parameters()[name].written, "oneof", str(value)))
    return path == place or path.startswith(f"{place}.")
