"""The points of a study: effective L0s that finished SAEs are cut to, without training anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from archsearch.errors import Problem
from archsearch.spec.block import SpecModel


def _different(levels: list[float]) -> list[float]:
    if len(set(levels)) < len(levels):
        raise ValueError(f"may name each L0 once; got {levels!r}")
    return levels


Level = Annotated[float, Field(gt=0)]


BEGIN = 1.05
"""How far above the lower edge of the band `per_octave` begins, as a factor: L0 comes out a few percent off on other rows."""

REACH = 4.0
"""How far below its own L0 an SAE is cut by `per_octave`, as a factor: further down, SAEs trained there do better."""


class PointsSpec(SpecModel):
    """Cuts every finished SAE to lower L0s, and measures it there too."""

    l0: Annotated[list[Level], AfterValidator(_different)] | None = Field(
        None, min_length=1, description="Effective L0 of each point (latents per row); SAEs not well above one are not cut to it."
    )
    per_octave: int | None = Field(
        None, ge=1, le=24, description="Or so many points in every octave of the band, down to a quarter of an SAE's own L0 (count)."
    )
    cut: str | dict[str, Any] | None = Field(
        None, description="The calibration that cuts, without its L0; unset: the smallest activations of each dictionary go."
    )

    @model_validator(mode="after")
    def _one(self) -> PointsSpec:
        if (self.l0 is None) == (self.per_octave is None):
            raise ValueError("give either l0 or per_octave, one of the two")
        return self

    @property
    def reach(self) -> float:
        """How far below its own L0 an SAE is cut, as a factor."""
        return math.inf if self.per_octave is None else REACH

    def levels(self, band: tuple[float, float], trained: Sequence[float] = ()) -> tuple[float, ...]:
        """Returns the L0s to cut to, in a study of that band that trains SAEs at L0s `trained` (none: anywhere in the band)."""
        if self.per_octave is None:
            return tuple(self.l0 or ())
        low, high = band[0] * BEGIN, max(trained, default=math.inf)
        count = math.ceil(math.log2(min(high, band[1]) / low) * self.per_octave) if min(high, band[1]) > low else 0
        return tuple(float(f"{low * 2 ** (index / self.per_octave):.3g}") for index in range(count))

    def each(self, band: tuple[float, float], trained: Sequence[float] = ()) -> int:
        """Returns to how many L0s an SAE is cut, at most (count)."""
        levels = len(self.levels(band, trained))
        return levels if self.per_octave is None else min(levels, round(math.log2(REACH) * self.per_octave))


def misplaced(points: PointsSpec, band: tuple[float, float], trained: tuple[float, ...]) -> list[Problem]:
    """Returns a problem for each L0 of `points` at which none could be of use, in a study of that band and those levels of L0."""
    found = []
    for index, level in enumerate(points.l0 or ()):
        path = f"study.points.l0.{index}"
        if not band[0] <= level <= band[1]:
            found.append(Problem(f"must lie in the band, {band[0]:g} to {band[1]:g}; got {level:g}", path))
        elif trained and level >= max(trained):
            found.append(Problem(f"must lie below {max(trained):g}, the highest L0 that SAEs are trained at; got {level:g}", path))
    if not points.levels(band, trained):
        found.append(Problem(f"there is no L0 to cut to in the band, {band[0]:g} to {band[1]:g}, below what is trained", "study.points"))
    return found
