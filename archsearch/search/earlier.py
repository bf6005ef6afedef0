"""An earlier study, looked at from another space: which of its SAEs lie there, and what its holes would have to be filled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput
from archsearch.search.jobs import Draw, Setting
from archsearch.search.placing import MISSING, Places, apart, value_at
from archsearch.search.records import StudyRecord, TrialRecord
from archsearch.search.settings import settings, sparsity_settings
from archsearch.spec.differences import differences
from archsearch.spec.hashes import digest
from archsearch.spec.space import TARGET, Space
from archsearch.spec.template import Filled

LENGTH = ("tokens", "batch")
"""Settings of training that say how long a run is, not what is trained."""

Document = dict[str, Any]


@dataclass
class Earlier:
    """The earlier study, looked at from the new space.

    `found`: the fill that is a structure, sparsity and length apart, None where the new space has no such structure; `why`: why not.
    """

    record: StudyRecord
    space: Space
    setting: Setting
    found: dict[str, Filled | None] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    @cached_property
    def trials(self) -> list[TrialRecord]:
        """Trials of the earlier search that came to an end by themselves."""
        own = [trial for trial in self.record.trials if trial.baseline is None and trial.copied_from is None]
        return [trial for trial in own if trial.state != "running"]

    @cached_property
    def places(self) -> Places:
        """Fills of the new space beside the earlier specs."""
        return Places(self.space, self.setting.model)

    @cached_property
    def length(self) -> dict[str, Any]:
        """What the new space says about how long a run is, where it leaves no hole there."""
        filled = self.space.fill(Draw(0, 0, {}))
        training = parse(filled.document).training
        return {name: getattr(training, name) for name in LENGTH if ("training", name) not in filled.path_of.values()}

    def place(self, trial: TrialRecord) -> None:
        """Finds the structure of a trial in the new space, once for all trials that have it."""
        key = structure(trial.spec)
        if key in self.found:
            return
        self.found[key] = None
        try:
            spec = self.places.built({**trial.spec, "training": {**trial.spec["training"], **self.length}})
            self.found[key] = self.places.of(spec, trial.params)
            if self.found[key] is None:
                parameters = self.space.parameters()
                picks = {name: value for name, value in trial.params.items() if name in parameters and value in parameters[name].values()}
                near = self.places.built(self.places.filled(picks, spec).document)
                self.why[key] = f"differs in {', '.join(apart(near, spec))}"
        except InvalidInput as error:
            self.why[key] = f"is no legal SAE here ({'; '.join(problem.what for problem in error.problems)})"

    def exactly(self, trial: TrialRecord) -> Filled | None:
        """Returns the fill that is a trial, its sparsity and its length included; None where the space holds no such SAE."""
        filled = self.found[structure(trial.spec)]
        if filled is None:
            return None
        hole = self.space.sparsity_hole(filled, catalogue().sparsity)
        spec = self.places.built(trial.spec)
        for value in self._levels(filled, hole, spec, trial.params):
            try:
                exact = self.space.refill(filled.params if hole is None else {**filled.params, hole: value})
                if not differences(settings(self.places.built(exact.document)), settings(spec)):
                    return exact
            except InvalidInput:
                continue  # beyond the range the new space has for it
        return None

    def _levels(self, filled: Filled, hole: str | None, spec: Document, params: Mapping[str, Any]) -> Sequence[Any]:
        """Returns what the hole that is swept over may have been filled with."""
        if hole is None:
            return [None]
        if hole != TARGET:
            value = value_at(spec, filled.path_of[hole])
            return [] if value is MISSING else [value]
        levels = self.space.parameters()[hole].values()
        return sorted(levels, key=lambda level: level != params.get(hole))


def structure(spec: Document) -> str:
    """Returns what is the same in all SAEs of one structure: every setting but those that move sparsity, and who steers it."""
    free = sparsity_settings(spec)
    kept = {path: value for path, value in settings(spec).items() if path not in free and path.partition(".")[0] != "controller"}
    return digest(kept)
