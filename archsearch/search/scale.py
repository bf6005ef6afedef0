"""The scale of a hole of numbers: logarithmic, linear, or the order of a list, as places from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archsearch.spec.holes import ChoiceHole, FloatHole, ValueHole, is_number

Number = int | float


@dataclass(frozen=True)
class Scale:
    """Places of the values of a hole, 0 for its lowest and 1 for its highest."""

    hole: ValueHole

    @staticmethod
    def of(hole: ValueHole) -> Scale | None:
        """Returns the scale of a hole; None for a choice of words, which has no order to go along."""
        return None if isinstance(hole, ChoiceHole) and not all(map(is_number, hole.values)) else Scale(hole)

    def place(self, value: Number) -> float:
        """Returns where a value stands."""
        if isinstance(self.hole, ChoiceHole):
            return self.hole.values.index(value) / max(len(self.hole.values) - 1, 1)
        low, high = self.hole.low, self.hole.high
        return math.log(value / low) / math.log(high / low) if self.hole.log else (value - low) / (high - low)

    def untried(self, places: Iterable[float], between: tuple[float, float], tried: Sequence[Number]) -> list[Number]:
        """Returns the values nearest to `places` that stand between two others and are none of `tried`, each once, in that order."""
        found: list[Number] = []
        if isinstance(self.hole, FloatHole):
            for place in places:
                value = self._float(self.hole, place)
                if value not in (*tried, *found):
                    found.append(value)
            return found
        first, last = between
        left = [value for value in self._listed() if first - 1e-9 <= self.place(value) <= last + 1e-9 and value not in tried]
        for place in places:
            if left:
                found.append(min(left, key=lambda value: abs(self.place(value) - place)))
                left.remove(found[-1])
        return found

    @staticmethod
    def _float(hole: FloatHole, place: float) -> float:
        raw = hole.low * (hole.high / hole.low) ** place if hole.log else hole.low + place * (hole.high - hole.low)
        return min(max(float(f"{raw:.3g}"), hole.low), hole.high)

    def _listed(self) -> list[Number]:
        """Returns the values of a hole that can be listed, by rising place."""
        if isinstance(self.hole, ChoiceHole):
            return [value for value in self.hole.values if isinstance(value, (int, float))]
        return list(range(int(self.hole.low), int(self.hole.high) + 1))
