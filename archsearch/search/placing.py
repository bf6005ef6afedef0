"""Finds the place of an SAE in a space: what its holes would have to be filled with, whoever proposed the SAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.errors import InvalidInput
from archsearch.search.jobs import Draw
from archsearch.search.settings import settings, sparsity_settings
from archsearch.spec.differences import differences
from archsearch.spec.holes import ChoiceHole, IntHole, ValueHole
from archsearch.spec.space import Space
from archsearch.spec.template import Filled

ROUNDS = 4
"""Times every branch is tried at most; holes inside a branch are met one round after it."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """Fills of a space beside resolved specs, for activations of width `model`."""

    space: Space
    model: int

    def built(self, document: Document) -> Document:
        """Returns a document as a resolved spec.

        Raises:
            InvalidInput: it is no legal SAE.
        """
        return resolved(assemble(parse(document), model=self.model, device="meta"))

    def filled(self, picks: Mapping[str, Any], like: Document) -> Filled:
        """Returns the space filled with `picks`, and other value holes as `like` has them (the middle of a hole where it has none)."""
        first = self.space.fill(Draw(0, 0, dict(picks)))
        parameters = self.space.parameters()
        read = {name: value_at(like, path) for name, path in first.path_of.items() if name not in picks}
        known = {name: value for name, value in read.items() if value is not MISSING and allows(parameters[name].hole, value)}
        return self.space.fill(Draw(0, 0, {**picks, **known}))

    def distance(self, document: Document, spec: Document) -> float:
        """Returns in how many settings a document differs from a resolved spec, sparsity apart; infinity for what is no legal SAE."""
        try:
            return len(apart(self.built(document), spec))
        except InvalidInput:
            return float("inf")

    def of(self, spec: Document, params: Mapping[str, Any]) -> Filled | None:
        """Returns the fill that is a resolved spec, sparsity apart; None where the space holds no such SAE.

        `params` are what a sampler says it was filled with, none if nobody says so. Then branches are tried one after another, each kept
        that brings the SAE nearer, and numbers are read off the spec.
        """
        try:
            found = self.space.refill(params)
            if self.distance(found.document, spec) == 0:
                return found
        except InvalidInput:
            pass  # an SAE from elsewhere, or holes of another version of the space
        found = self._searched(spec)
        return found if self.distance(found.document, spec) == 0 else None

    def _searched(self, spec: Document) -> Filled:
        picks: dict[str, Any] = {}
        best = self.filled(picks, spec)
        nearest = self.distance(best.document, spec)
        parameters = self.space.parameters()
        for _ in range(ROUNDS):
            before = nearest
            for name in branches(best):
                for option in parameters[name].values():
                    other = self.filled({**_below(picks, name), name: option}, spec)
                    if (far := self.distance(other.document, spec)) < nearest:
                        best, nearest, picks = other, far, {key: other.params[key] for key in branches(other)}
            if nearest in (0, before):
                break
        return best


def branches(filled: Filled) -> list[str]:
    """Returns the names of the holes of a fill that decide on structure: which branch, or how many copies."""
    return [name for name in filled.params if name not in filled.path_of]


def _below(picks: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns picks without those inside the branch `name` took."""
    return {key: value for key, value in picks.items() if not key.startswith(f"{name}@")}


def apart(one: Document, other: Document) -> list[str]:
    """Returns the settings in which two resolved specs differ, without those that move sparsity and who steers it."""
    free = sparsity_settings(one) | sparsity_settings(other)
    found = [difference.path for difference in differences(settings(one), settings(other))]
    return [path for path in found if path not in free and path.partition(".")[0] != "controller"]


def allows(hole: ValueHole, value: Any) -> bool:
    """Tells whether a value may fill a hole."""
    if isinstance(hole, ChoiceHole):
        return any(type(value) is type(own) and value == own for own in hole.values)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and hole.low <= value <= hole.high and not (isinstance(hole, IntHole) and value != int(value))


MISSING = object()
"""Stands for a value that is not there."""


def value_at(document: Any, path: tuple[str | int, ...]) -> Any:
    """Returns what stands at a path, or `MISSING`."""
    for step in path:
        keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
        if step not in keys:
            return MISSING
        document = document[step]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return document
