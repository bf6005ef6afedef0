"""What an ask consists of: the trials of a baseline, or of a structure the sampler draws, at their sparsity levels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archsearch.blocks.catalogue import catalogue
from archsearch.search.evolution.evolution import Evolution, Genome
from archsearch.search.filling import fill
from archsearch.search.jobs import Draft, Draw, baseline_drafts, levels_of
from archsearch.search.records import TrialRecord
from archsearch.search.refining import Refining
from archsearch.search.sampler import Sampling
from archsearch.spec.space import TARGET, Space
from archsearch.spec.template import Template


@dataclass
class Attempt:
    """One attempt to draw an ask; it may turn out to be no legal SAE.

    `index`: attempts before it; `asked`: numbers of the trials asked of Optuna so far; `params`: what the structure was drawn with;
    `genome`: where it comes from, if it was bred.
    """

    index: int
    asked: list[int] = field(default_factory=list)
    params: Mapping[str, Any] = field(default_factory=dict)
    genome: Genome | None = None


Make = Callable[[Attempt], Iterable[Draft]]
"""Draws the trials of an ask."""

FILLS = 4
"""One in so many asks of a search looks after parts of the band where no SAE stands."""


class Proposer:
    """Draws the asks of a study; where there is an `evolution`, it proposes the structures, and the sampler is only told of them.

    `refining` picks values for the holes in the sampler's place, once it has enough to learn from.
    """

    def __init__(self, space: Space, sampling: Sampling, evolution: Evolution | None = None, refining: Refining | None = None):
        self.space, self.sampling, self.evolution, self.refining = space, sampling, evolution, refining
        self.fields = catalogue().sparsity

    def baselines(self, trees: Mapping[str, dict[str, Any]]) -> list[Make]:
        """Returns what draws each ask of the baselines, in order."""
        study, found = self.space.study, list[Make]()
        for name, tree in trees.items():
            template = Template.read(tree)
            hole = self.space.sparsity_hole(template.fill(Draw(0, 0, {})), self.fields)
            for index in range(study.baseline_asks):
                found.append(self._baseline(name, template, hole, len(found), index))
        return found

    def _baseline(self, name: str, template: Template, hole: str | None, ask: int, index: int) -> Make:
        study = self.space.study

        def make(attempt: Attempt) -> list[Draft]:
            draw = index + attempt.index * study.baseline_asks
            return baseline_drafts(name, template, hole, ask, draw, study.levels, study.seed)

        return make

    def structure(self, ask: int, most: int, randomly: bool, known: Sequence[TrialRecord]) -> Make:
        """Returns what draws an ask of the search.

        Args:
            ask: its number.
            most: trials it may have.
            randomly: whether it is drawn at random, whatever the sampler has learned.
            known: trials of earlier asks, in order.
        """
        evolution = self.evolution
        if evolution is not None and not self.sampling.opening.decides(ask):
            return lambda attempt: self._bred(evolution, ask, most, attempt, known)
        begins = self.sampling.opening.decides(ask) or (self.refining is not None and self.refining.begins(ask))
        filling = self._filling(ask, known) if ask % FILLS == FILLS - 1 and not begins else None

        def make(attempt: Attempt) -> Iterator[Draft]:
            if filling is not None and attempt.index == 0:
                return self._given(ask, filling[:most], attempt)
            picks = self.refining if attempt.index == 0 and not randomly else None
            return self._levels(ask, most, randomly, attempt, picks.pick(ask, known) if picks else None)

        return make

    def _filling(self, ask: int, known: Sequence[TrialRecord]) -> list[dict[str, Any]] | None:
        return fill(self.space, self.fields, known, self.sampling.band, self.sampling.seed, ask)

    def _bred(self, evolution: Evolution, ask: int, most: int, attempt: Attempt, known: Sequence[TrialRecord]) -> Iterator[Draft]:
        """Yields the trials of a structure that evolution proposes, at every L0 of the sweep; no parameters of the space stand for it."""
        attempt.genome = genome = evolution.propose(ask, attempt.index, known)
        for level, l0 in enumerate(self.space.study.l0[:most]):
            trial = self.sampling.ask_fixed({})
            attempt.asked.append(trial.number)
            yield Draft(ask, level, {**genome.document, TARGET: l0}, {}, None, trial.number)

    def _levels(self, ask: int, most: int, randomly: bool, attempt: Attempt, picked: Mapping[str, Any] | None) -> Iterator[Draft]:
        """Yields the trials of one structure, at its sparsity levels."""
        trial = self.sampling.ask(ask, randomly, attempt.index, picked)
        attempt.asked.append(trial.number)
        filled = self.space.fill(trial)
        attempt.params = filled.params
        hole = self.space.sparsity_hole(filled, self.fields)
        yield Draft(ask, 0, filled.document, filled.params, None, trial.number)
        if hole is None:
            return
        values = levels_of(self.space.parameters()[hole].hole, filled.params[hole], min(self.space.study.levels, most))
        yield from self._given(ask, [{**filled.params, hole: value} for value in values[1:]], attempt, first=1)

    def _given(self, ask: int, fills: list[dict[str, Any]], attempt: Attempt, first: int = 0) -> Iterator[Draft]:
        """Yields trials of which every parameter is known."""
        for level, params in enumerate(fills, start=first):
            trial = self.sampling.ask_fixed(params)
            attempt.asked.append(trial.number)
            filled = self.space.fill(trial)
            attempt.params = filled.params
            yield Draft(ask, level, filled.document, filled.params, None, trial.number)
