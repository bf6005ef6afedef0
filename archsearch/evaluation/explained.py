"""How much of the spread of some values goes with one choice: means by option, or a parabola over a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BEND = 2
"""Degree of the polynomial over a number."""

WIDE = 10.0
"""Positive numbers whose range is this factor wide count by their logarithm."""

NOWHERE = object()
"""Stands for the value of a choice that was not there to be made."""


@dataclass(frozen=True)
class Column:
    """One choice over the things that made it: `there`, where it was made; `codes`, its value; `words`, whether that only numbers words."""

    there: np.ndarray
    codes: np.ndarray
    words: bool

    @staticmethod
    def of(values: Sequence[Any]) -> Column:
        """Returns the choice that made these values, `NOWHERE` among them."""
        there = np.array([value is not NOWHERE for value in values])
        known = [value for value in values if value is not NOWHERE]
        if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
            names = {name: place for place, name in enumerate(dict.fromkeys(map(repr, known)))}
            return Column(there, np.array([float(names.get(repr(value), 0)) for value in values]), True)
        log = bool(known) and min(known) > 0 and max(known) / min(known) >= WIDE
        numbers = [0.0 if value is NOWHERE else math.log(value) if log else float(value) for value in values]
        return Column(there, np.array(numbers), False)

    @property
    def options(self) -> int:
        """Different values there (count)."""
        return len(np.unique(self.codes[self.there]))

    def part(self, places: np.ndarray) -> Column:
        """Returns the choice at some places only."""
        return Column(self.there[places], self.codes[places], self.words)

    def explained(self, values: np.ndarray) -> tuple[float, float]:
        """Returns the share of the sum of squares of `values` that goes with the choice: as it is, and without what chance would give.

        Where a choice is only there under a branch, values under it are measured from their own mean: the branch is a choice of its own.
        Without chance is epsilon squared: the sum of squares less its degrees of freedom times the mean square of the error, 0 at least.
        """
        whole = float(((values - values.mean()) ** 2).sum())
        mine, codes = values[self.there], self.codes[self.there]
        degrees = self._degrees(codes)
        left = len(mine) - 1 - degrees
        if whole <= 0 or degrees < 1 or left < 1:
            return 0.0, 0.0
        around = mine - mine.mean()
        error = float(((around - self._fitted(codes, around, degrees)) ** 2).sum())
        gained = float((around**2).sum()) - error
        return gained / whole, max(gained - degrees * error / left, 0.0) / whole

    def _degrees(self, codes: np.ndarray) -> int:
        distinct = len(np.unique(codes))
        return distinct - 1 if self.words else min(distinct - 1, BEND)

    def _fitted(self, codes: np.ndarray, values: np.ndarray, degrees: int) -> np.ndarray:
        if self.words:
            _, places = np.unique(codes, return_inverse=True)
            return (np.bincount(places, values) / np.bincount(places))[places]
        design = np.vander((codes - codes.mean()) / codes.std(), degrees + 1)
        return design @ np.linalg.lstsq(design, values, rcond=None)[0]
