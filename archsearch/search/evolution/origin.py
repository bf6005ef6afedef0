"""What a space gives evolution to begin with: its corners and what they cost, and the blocks that children are made of."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from archsearch.errors import InvalidInput
from archsearch.recipes import names, recipe
from archsearch.search.evolution.documents import Document
from archsearch.search.evolution.filling import filled, population
from archsearch.search.evolution.limits import Limits, Size
from archsearch.search.evolution.material import Material, holes_of
from archsearch.search.evolution.parent import Parent, parent_of
from archsearch.search.jobs import fitted
from archsearch.spec.hashes import digest
from archsearch.spec.space import TARGET, Space

Frame = tuple[int, tuple[str, ...], int, int]
"""Width, inputs, tokens and batch: what SAEs must have in common for one to be made from the other."""


@dataclass(frozen=True)
class Origin:
    """A space, as evolution sees it; everything is worked out when it is first asked for. `seed`: the study's."""

    space: Space
    limits: Limits
    seed: int

    @cached_property
    def shown(self) -> list[tuple[Parent, Size]]:
        """The corners of the space and its first fills, as far as they are legal at the highest L0 of the sweep, and what each costs.

        Corners have one branch at a time; fills have the dearest ones together.
        """
        documents = [opened(corner.document) for corner in self.space.corners()]
        for index in range(self.population):
            with suppress(InvalidInput):  # labels of repeated blocks that collide
                documents.append(filled(self.space, self.seed, index, 0))
        found: list[tuple[Parent, Size]] = []
        for document in {digest(document): document for document in documents}.values():
            try:
                assembly = self.limits.built(document)
            except InvalidInput:
                continue  # the check of the space says what is wrong with it
            found.append((parent_of(-1, assembly, self.limits.blocks), Size.of(assembly)))
        return found

    @cached_property
    def most(self) -> Size:
        """The most that any of them costs."""
        most = Size()
        for _, size in self.shown:
            most = most.joined(size)
        return most

    @cached_property
    def frames(self) -> set[Frame]:
        """What SAEs of the space have in common, each combination that there is."""
        return {frame(parent.document) for parent, _ in self.shown}

    @cached_property
    def material(self) -> Material:
        """What children are made of: what the space shows, and of kinds it does not have, what recipes show."""
        blocks = self.limits.blocks
        own, others = Material(blocks, holes_of(self.space, blocks)), Material(blocks)
        for parent, _ in self.shown:
            own.add(parent)
        for name in names() if self.shown else ():
            try:
                others.add(parent_of(-1, self.limits.built(opened(fitted(recipe(name), self.shown[0][0].document))), blocks))
            except InvalidInput:
                continue  # for another number of hook points, or of no legal size here
        own.add_missing(others)
        return own

    @cached_property
    def population(self) -> int:
        """Structures drawn from the space before any child is made, and those that children are made from later on."""
        return population(self.space)


def opened(document: Mapping[str, Any]) -> Document:
    """Returns a document without the L0 it is to reach."""
    return {name: value for name, value in document.items() if name != TARGET}


def frame(document: Mapping[str, Any]) -> Frame:
    """Returns what a written-out document must have in common with another for one to be made from the other."""
    training = document["training"]
    return document["width"], tuple(document["inputs"]), training["tokens"], training["batch"]
