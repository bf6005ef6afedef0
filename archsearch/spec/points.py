"""The points of a study: effective L0s that finished SAEs are cut to, without training anything."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from archsearch.errors import Problem
from archsearch.spec.block import SpecModel


def _different(levels: list[float]) -> list[float]:
    if len(set(levels)) < len(levels):
        raise ValueError(f"may name each L0 once; got {levels!r}")
    return levels


Level = Annotated[float, Field(gt=0)]


class PointsSpec(SpecModel):
    """Cuts every finished SAE to lower L0s, and measures it there too."""

    l0: Annotated[list[Level], AfterValidator(_different)] = Field(
        min_length=1, description="Effective L0 of each point (latents per row); SAEs not well above one are not cut to it."
    )
    cut: str | dict[str, Any] | None = Field(
        None, description="The calibration that cuts, without its L0; unset: the smallest activations of each dictionary go."
    )


def misplaced(points: PointsSpec, band: tuple[float, float], levels: tuple[float, ...]) -> list[Problem]:
    """Returns a problem for each L0 of `points` at which none could be of use, in a study of that band and those levels of L0."""
    found = []
    for index, level in enumerate(points.l0):
        path = f"study.points.l0.{index}"
        if not band[0] <= level <= band[1]:
            found.append(Problem(f"must lie in the band, {band[0]:g} to {band[1]:g}; got {level:g}", path))
        elif levels and level >= max(levels):
            found.append(Problem(f"must lie below {max(levels):g}, the highest L0 that SAEs are trained at; got {level:g}", path))
    return found
