"""Draws the first structures of a search so that every branch gets its turn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from archsearch.search.placing import branches
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import Space

T = TypeVar("T")


def widest(space: Space) -> int:
    """Returns how many branches the widest choice of structure has in a space; 1 where there is none."""
    parameters = space.parameters()
    names = {name for corner in space.corners() for name in branches(corner)}
    return max((len(parameters[name].values()) for name in names), default=1)


class Turns:
    """Suggests numbers by chance, and every choice and count of copies in turn, each round in another order.

    What is drawn once more is drawn wholly by chance: the same turn would be of no use again.
    """

    def __init__(self, seed: int, index: int, again: int, counts: frozenset[str]):
        self._seed, self._index, self._again, self._counts = seed, index, again, counts

    @staticmethod
    def of(space: Space, seed: int, index: int, again: int = 0) -> Turns:
        """Returns what suggests the values of a structure; `index` counts structures, `again` draws of one that were of no use."""
        return Turns(seed, index, again, frozenset(name for name, parameter in space.parameters().items() if parameter.counts))

    def _draw(self, name: str) -> random.Random:
        return random.Random(seed_of("fill", self._seed, name, self._index, self._again))

    def _turn(self, name: str, values: Sequence[T]) -> T:
        if self._again:
            return self._draw(name).choice(values)
        turn, place = divmod(self._index, len(values))
        return random.Random(seed_of("turn", self._seed, name, turn)).sample(values, len(values))[place]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        place = self._draw(name).random()
        return min(max(low * (high / low) ** place if log else low + place * (high - low), low), high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        if name in self._counts:
            return self._turn(name, range(low, high + 1))
        return min(int(self.suggest_float(name, low, high + 1, log=True)), high) if log else self._draw(name).randint(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._turn(name, choices)
