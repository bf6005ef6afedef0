"""Checks a space before anything is trained: fills its corners and random points, assembles each, and says what is wrong where."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.points import calibrations
from archsearch.assembler.reach import Count, Reach, counts_of, distinct_values, l0_range
from archsearch.assembler.requested import check_written
from archsearch.assembler.splices import source_problems
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.hashes import canonical
from archsearch.spec.space import TARGET, Space, at_levels, corners
from archsearch.spec.template import Filled, Template
from archsearch.spec.yaml import dotted, located

EARLY_RUNG, SHORT_RUN = 200, 1000
"""Steps under which a rung, and a run, say too little to stop anybody by (counts)."""


@dataclass(frozen=True)
class Checked:
    """What a check did: documents assembled, the holes swept over that it met (`None` in it: a structure that has none), and what is
    legal but hardly meant."""

    assembled: int
    swept: tuple[str | None, ...]
    notes: tuple[str, ...] = ()


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
    names: Sequence[str] | None = None,
    fills: int = 20,
    seed: int = 0,
) -> Checked:
    """Assembles corners and random fills of a space, and of its baselines, on the meta device.

    Args:
        space: the space.
        model: width of the activations (count).
        blocks: the catalogue; all blocks by default.
        recipes: SAE trees by name, for baselines given by name; without them names are not checked.
        names: all names a baseline may have; those of `recipes` by default.
        fills: random fills of the space and of each baseline (count).
        seed: seed of the random fills.

    Raises:
        InvalidInput: every distinct problem once, with the line of the branch that was active.
    """
    blocks = blocks or catalogue()
    check = _Check(space, model, blocks)
    check.template(space.template, fills, seed)
    check.note_sweep()
    check.note_ladder()
    check.points()
    trees, problems = _baselines(space, recipes, names)
    for place, tree in trees.items():
        try:
            check.template(Template.read(at_levels(tree, space.study), root=("baselines", place)), fills, seed)
        except InvalidInput as error:
            problems += error.problems
    problems = [_asked(problem, space) for problem in [*check.problems, *problems]]
    if problems:
        raise InvalidInput(sorted(located(problems, space.source.marks, space.source.file), key=lambda p: p.line or 0))
    return Checked(check.assembled, tuple(dict.fromkeys(check.swept)), tuple(check.notes))


def _asked(problem: Problem, space: Space) -> Problem:
    """Returns a problem of an L0 that the study asks for at the study's sweep, where it is written, not at the field it fills."""
    if space.study.l0 and space.sae.get(TARGET) is None and problem.path.endswith(f".{TARGET}"):
        return replace(problem, path="study.sweep.l0")
    return problem


def _baselines(space: Space, recipes: Mapping[str, Any] | None, names: Sequence[str] | None) -> tuple[dict[Any, Any], list[Problem]]:
    """Returns the trees of the baselines by place in the file, and a problem for every name no recipe bears."""
    if isinstance(space.baselines, dict):
        return {**space.baselines}, []
    if recipes is None:
        return {}, []
    known = {place: recipes[name] for place, name in enumerate(space.baselines) if name in recipes}
    unknown = [(place, name) for place, name in enumerate(space.baselines) if name not in recipes]
    valid = list(names or recipes)
    return known, [Problem(f"no recipe {name!r}; {nearest(name, valid)}", f"baselines.{place}") for place, name in unknown]


class _Check:
    """Collects the problems of a space's templates."""

    def __init__(self, space: Space, model: int, blocks: Catalogue):
        self.space, self.model, self.blocks = space, model, blocks
        self.fields = {kind: block.sparsity for kind, block in blocks.blocks.items() if getattr(block, "sparsity", "")}
        self.problems: list[Problem] = []
        self.assembled = 0
        self.swept: list[str | None] = []
        self.notes: list[str] = []
        self._structures: list[tuple[dict[str, Any], str | None]] = []
        self._lengths: list[tuple[int, float]] = []  # steps of the run, and the share of it after which it is settled

    def template(self, template: Template, fills: int, seed: int) -> None:
        """Checks every corner and some random fills of one template."""
        discrete = {name for name, parameter in template.parameters().items() if parameter.discrete}
        found: list[_Found] = []
        seen: list[dict[str, Any]] = []
        reach: dict[str, Reach] = {}
        counts: dict[str, Count] = {}
        try:
            known = corners(template)
            drawn = [template.fill(_Random(f"{seed}/{index}")) for index in range(fills)]
        except InvalidInput as error:  # labels of repeated blocks that collide
            self.problems += error.problems
            return
        for index, filled in enumerate([*known, *drawn]):
            structure = {name: value for name, value in filled.params.items() if name in discrete}
            seen.append(structure)
            problems, built, hole = self._document(filled)
            found += [_Found(problem, structure) for problem in problems]
            if built is not None:
                self._structures.append((structure, hole))
                self._lengths.append((built.receipt.steps, built.receipt.settled_frac))
            if built is not None and index < len(known):  # corners hold both ends of every range, random fills may not
                for path, low, high, width in counts_of(built.spec.graph, "graph", built.spec.width, self.blocks, self.fields):
                    place = filled.locate(path)
                    counts.setdefault(place, Count(place, structure)).widen(low, high, width)
                known_range = l0_range(built.spec, self.blocks, built.receipt.dense_rank)
                reach.setdefault(canonical(structure), Reach(structure)).widen(known_range, built.receipt.dense_rank, filled, hole)
        found += [_Found(problem, r.structure) for r in reach.values() if (problem := r.problem(self.space.study.band))]
        found += [_Found(problem, count.structure) for count in counts.values() if (problem := count.problem())]
        self.problems += _distinct(found, seen, template)
        self.notes += [note for count in counts.values() if template is self.space.template and (note := count.note())]

    def note_sweep(self) -> None:
        """Notes where the sweep over sparsity cannot be had as asked."""
        sweep, parameters = self.space.study.levels, self.space.parameters()
        if self.space.study.l0 or sweep == 1 or not self._structures:
            return
        for name in dict.fromkeys(hole for _, hole in self._structures if hole):
            levels = distinct_values(parameters[name].hole)
            if levels is not None and levels < sweep:
                self.notes.append(f"sweep: {sweep} asks for more levels than {name} has values: a structure gets {levels}")
        without = [structure for structure, hole in self._structures if hole is None]
        if without:
            when = _cause(without, [structure for structure, hole in self._structures if hole])
            branch = " and ".join(f"{name}={value}" for name, value in when.items())
            which = f"where {branch}" if branch else "in some structures" if len(without) < len(self._structures) else "anywhere"
            what = f"no sparsity setting is open {which}: such a structure is trained once, not at {sweep} levels"
            self.notes.append(f"{what}; open one ({', '.join(sorted({f'{kind}.{field}' for kind, field in self.fields.items()}))})")

    def note_ladder(self) -> None:
        """Notes rungs that come too early to say anything, or at which nobody is judged; refuses one before the first step."""
        ladder = self.space.study.ladder
        if ladder is None or not self._lengths:
            return
        steps = min(steps for steps, _ in self._lengths)
        if round(ladder.rungs[0] * steps) < 1:
            what = f"the first rung, {ladder.rungs[0]:g} of {steps} steps, comes before the first step"
            self.problems.append(Problem(what, "study.ladder.rungs"))
        elif steps < SHORT_RUN or ladder.rungs[0] * steps < EARLY_RUNG:
            early = f"the first rung comes after {round(ladder.rungs[0] * steps)} of {steps} steps"
            self.notes.append(f"ladder: {early}; before {EARLY_RUNG}, or in runs under {SHORT_RUN}, numbers say little about the end")
        if all(settled > ladder.rungs[-1] for _, settled in self._lengths):
            self.notes.append("ladder: every SAE is ramped beyond the last rung (receipt: settled_frac), so none is ever judged")

    def points(self) -> None:
        """Checks what finished SAEs are cut by."""
        try:
            calibrations(self.space.study, self.blocks)
        except InvalidInput as error:
            self.problems += error.problems

    def _document(self, filled: Filled) -> tuple[list[Problem], Assembly | None, str | None]:
        """Returns the problems of one document, and what was built of it and the hole it is swept over where there is none."""
        try:
            if TARGET not in filled.params:
                check_written(filled.document, self.blocks)
            built = assemble(parse(filled.document, self.blocks), model=self.model, device="meta", blocks=self.blocks)
        except InvalidInput as error:
            return [replace(p, path=filled.locate(p.path)) for p in error.problems], None, None
        if problems := source_problems(built.graph, self.space.activations):
            return [replace(p, path=filled.locate(p.path)) for p in problems], None, None
        self.assembled += 1
        try:
            hole = self.space.sparsity_hole(filled, self.fields)
        except InvalidInput as error:
            return error.problems, None, None
        self.swept.append(hole)
        return [], built, hole


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
