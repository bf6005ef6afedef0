"""Evolution over graphs: starts from a space's own fills, then changes the graphs of the structures that did well."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput, Problem
from archsearch.search.evolution.change import Operator
from archsearch.search.evolution.crossing import crossings
from archsearch.search.evolution.documents import Document
from archsearch.search.evolution.filling import filled
from archsearch.search.evolution.inserting import insertions
from archsearch.search.evolution.limits import Limits, key_of
from archsearch.search.evolution.material import Material
from archsearch.search.evolution.moving import moves
from archsearch.search.evolution.origin import Origin, frame, opened
from archsearch.search.evolution.parent import Parent, parent_of
from archsearch.search.evolution.ranking import drawn, ranked
from archsearch.search.evolution.removing import removals
from archsearch.search.evolution.replacing import replacements
from archsearch.search.evolution.wiring import rewirings
from archsearch.search.records import TrialRecord, as_asked, feasible
from archsearch.search.settings import blocks_of
from archsearch.spec.holes import ChoiceHole
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import TARGET, Space

OPERATORS: dict[Operator, int] = {replacements: 4, insertions: 2, crossings: 2, moves: 2, removals: 1, rewirings: 1}
"""Operators with how often each is drawn: another block most, which is what a graph is for; taking out and rewiring, which mostly undo
others, least."""

TWICE = 0.25
"""Share of children that are changed twice: two changes may be of use only together."""

TRIES = 20
"""Times parents are drawn for one proposal, until they have a legal child."""

OFFERED = 3
"""Changes of a parent that are tried before others are drawn."""

FILLS = 20
"""Draws of a fill that may be illegal, or have been there, before a proposal gives up."""


def refuse_other_sweeps(space: Space) -> None:
    """Refuses a space whose structures are not all brought to the same L0s.

    Raises:
        InvalidInput: the sweep is not over L0.
    """
    target = space.parameters().get(TARGET)
    levels = {*target.hole.values} if target is not None and isinstance(target.hole, ChoiceHole) and not target.condition else set()
    if not space.study.l0 or levels != {*space.study.l0}:
        what = "evolution trains every structure at the same L0s, so the sweep must be over L0 itself"
        raise InvalidInput([Problem(f"{what} (`sweep: {{l0: [8, 16, 32, 64]}}`, and no `{TARGET}` in the SAE)", "study.sweep")])


@dataclass(frozen=True)
class Genome:
    """A structure to train at every L0 of the sweep.

    `document`: an SAE without an L0 to reach, every wire and value written out; `parents`: asks it comes from; `how`: what was changed, in
    words.
    """

    document: Document
    parents: tuple[int, ...]
    how: str


class Evolution:
    """Proposes structures for a study whose sweep is over L0.

    The first asks are fills of the space, drawn so that every branch gets its turn. From then on a child is made from the better of two
    structures drawn among the best, as many as there were fills: by the layers of the front, then by the hypervolume they add. One change,
    sometimes two, makes the child: a block replaced by another of its slot, put in or taken out; a wire; a setting; a part of another
    parent. Kinds of blocks that no structure has had are drawn more often. Baselines may be parents where they are as wide, and trained as
    long, as SAEs of the space.

    A child is legal at every L0 of the sweep, and no run of it has been there. At the highest L0 it has no more FLOPs per token, and no
    more parameters, than the largest of the space's corners and first fills, so that the widest does not win, and at most `ROOM` times as
    many blocks. Width, tokens and batch are never changed. Fills need only be legal and new: what a space may cost is its author's to say.

    Structures do not age: each is measured at several L0s, none is measured twice, and studies have some tens of them.
    """

    def __init__(self, space: Space, model: int, seed: int, band: tuple[float, float], objectives: tuple[str, ...]):
        """`model`: width of the activations; the rest as the study was created with.

        Raises:
            InvalidInput: the sweep is not over L0.
        """
        refuse_other_sweeps(space)
        self.space, self.seed, self.band, self.objectives = space, seed, band, objectives
        self.first = len(space.baselines) * space.study.baseline_asks
        self.limits = Limits(model, tuple(sorted(space.study.l0, reverse=True)), space.activations, catalogue())
        self.origin = Origin(space, self.limits, seed)
        self._parents: dict[tuple[int, str], Parent | None] = {}
        self._keys: dict[str, str] = {}

    def propose(self, ask: int, attempt: int, trials: Sequence[TrialRecord]) -> Genome:
        """Returns the structure of an ask: a function of the space, the seed, the ask, the attempt, and the trials of earlier asks.

        Trials that are still running are known to be there, and no more.

        Raises:
            InvalidInput: nothing new was found.
        """
        trials = [trial for trial in trials if trial.ask < ask]
        seen = frozenset(self._key(trial) for trial in trials)
        if ask - self.first >= self.origin.population:
            told = [self._as_asked(trial) for trial in trials if trial.state != "running"]
            child = self._child(random.Random(seed_of("evolution", self.seed, ask, attempt)), told, seen)
            if child is not None:
                return child
        return self._fill(ask, attempt, seen)

    def _as_asked(self, trial: TrialRecord) -> TrialRecord:
        if not feasible(trial, self.band, self.objectives):
            return trial
        return replace(trial, measurements={**trial.measurements, "l0": as_asked(trial.measurements["l0"], self.space.study.l0)})

    def _fill(self, ask: int, attempt: int, seen: frozenset[str]) -> Genome:
        for again in range(FILLS):
            try:
                document = filled(self.space, self.seed, ask - self.first, attempt * FILLS + again)
            except InvalidInput:
                continue  # labels of repeated blocks that collide
            found = self.limits.legal(document, seen)
            if found is not None:
                return Genome(found.document, (), "fill")
        what = f"ask {ask}: neither a change of the best structures nor one of {FILLS} fills of the space is a legal SAE that is new"
        raise InvalidInput([f"{what}; open more of the space, or end the study"])

    def _child(self, draw: random.Random, told: Sequence[TrialRecord], seen: frozenset[str]) -> Genome | None:
        """Returns a child of the best structures, None where none was found."""
        structures = self._structures(told)
        best = structures[: self.origin.population]
        tried = frozenset(entry["kind"] for trial in structures for _, entry in blocks_of(trial.spec))
        material = replace(self.origin.material, tried=tried)
        for _ in range(TRIES if best else 0):
            parent, mate = self._parent(drawn(best, draw)), self._parent(drawn(best, draw))
            mate = mate if mate is not parent else None
            made = self._changed(parent, mate, material, draw, seen) if parent is not None else None
            if parent is None or made is None:
                continue
            child, how, crossed = made
            if draw.random() < TWICE and (again := self._changed(child, mate, material, draw, seen)) is not None:
                child, how, crossed = again[0], f"{how}; {again[1]}", crossed or again[2]
            return Genome(child.document, (parent.ask, mate.ask) if crossed and mate is not None else (parent.ask,), how)
        return None

    def _changed(
        self, parent: Parent, mate: Parent | None, material: Material, draw: random.Random, seen: frozenset[str]
    ) -> tuple[Parent, str, bool] | None:
        """Returns a legal child of one change, what it was, and whether a part of the mate is in it; None where those drawn are none."""
        operator = draw.choices([*OPERATORS], weights=[*OPERATORS.values()])[0]
        for change in islice(operator(parent, mate, material, draw), OFFERED):
            child = self.limits.legal(change.document, seen, self.origin.most)
            if child is not None:
                return replace(child, ask=parent.ask), change.how, operator is crossings
        return None

    def _structures(self, told: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Returns the trial at the highest L0 of each structure that children may be made from, the best structure first."""
        asks: dict[int, list[TrialRecord]] = {}
        for trial in told:
            asks.setdefault(trial.ask, []).append(trial)
        highest = {ask: max(found, key=lambda trial: (self._asked(trial), trial.number)) for ask, found in asks.items()}
        found = [highest[ask] for ask in ranked(told, self.band, self.objectives)]
        return [trial for trial in found if trial.baseline is None or frame(trial.spec) in self.origin.frames]

    def _asked(self, trial: TrialRecord) -> float:
        """Returns a number that rises with the L0 a structure was brought to."""
        blocks = self.limits.blocks.blocks
        counts = [(entry, blocks[entry["kind"]].l0_setting) for _, entry in blocks_of(trial.spec) if entry["kind"] in blocks]
        return sum(entry[name] for entry, name in counts if name)

    def _parent(self, trial: TrialRecord) -> Parent | None:
        place = (trial.ask, trial.run)
        if place not in self._parents:
            try:
                self._parents[place] = parent_of(trial.ask, self.limits.built(opened(trial.spec)), self.limits.blocks)
            except InvalidInput:
                self._parents[place] = None  # a baseline that cannot be brought to that L0
        return self._parents[place]

    def _key(self, trial: TrialRecord) -> str:
        if trial.run not in self._keys:
            self._keys[trial.run] = key_of(trial.arch, trial.spec)
        return self._keys[trial.run]
