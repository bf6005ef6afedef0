"""What every operator of evolution yields, and how one is called."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from archsearch.search.evolution.documents import Document
from archsearch.search.evolution.material import Material
from archsearch.search.evolution.parent import Parent

T = TypeVar("T")


class Change(NamedTuple):
    """A document that differs from its parent in one thing, and what that is in words; whether it is legal, assembling it must tell."""

    how: str
    document: Document


Operator = Callable[[Parent, Parent | None, Material, random.Random], Iterator[Change]]
"""Yields changes of a parent in an order drawn with the generator, all there are; the second parent is there to take from."""


def shuffled(items: Sequence[T], draw: random.Random, weights: Sequence[float] | None = None) -> list[T]:
    """Returns items in a drawn order; the larger its weight, the earlier an item is likely to stand."""
    if weights is None:
        return draw.sample(items, len(items))
    places = sorted(range(len(items)), key=lambda place: draw.random() ** (1 / weights[place]), reverse=True)
    return [items[place] for place in places]
