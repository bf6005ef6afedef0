"""What errors of reconstructions at several levels share: what a level trains, and how levels are put together."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, LossSpec


class LevelledSpec(LossSpec):
    """Settings of a term with an error for every level."""

    levels: Literal["sum", "mean"] = Field("sum", description="How the errors of several levels are put together.")
    level_weights: list[Annotated[float, Field(ge=0)]] | None = Field(
        None, min_length=2, description="Weight of the error of each level, that of the whole code last; null: 1 each (no unit)."
    )
    inner: Literal["all", "added"] = Field(
        "all", description="What an inner level's error trains: all it holds, or what it adds to the level before it."
    )

    @model_validator(mode="after")
    def _weighing(self) -> LevelledSpec:
        if self.level_weights is not None and not any(self.level_weights):
            raise ValueError(f"one of level_weights must be above zero, or the term says nothing; got {self.level_weights!r}")
        return self


class Levelled(Loss, abstract=True):
    """A term with an error for every level of a reconstruction; one without a level axis has one error."""

    level_settings: ClassVar[tuple[str, ...]] = ("level_weights", "inner")
    """Settings that need a level axis: where levels are dropped they are left out."""

    def __init__(self, spec: LevelledSpec, sizes: Sizes):
        super().__init__(spec)
        levels = max((info.levels for info in sizes.inputs.get("reconstruction", ())), default=0)
        _check(spec, levels)
        self.share = 1.0 if spec.levels == "mean" else float(max(levels, 1))
        self.added, self.weighed = spec.inner == "added", spec.level_weights is not None
        if self.weighed:
            # Given, not learned, so that checkpoints need not hold it.
            weights = torch.tensor(spec.level_weights, dtype=torch.get_default_dtype())
            self.register_buffer("level_weights", weights, persistent=False)

    def seen(self, reconstruction: Float[Tensor, "*level batch model"]) -> Float[Tensor, "*level batch model"]:
        """Returns the reconstruction; with `inner: added`, inner levels' gradients reach what they add to the level before alone."""
        if not self.added:
            return reconstruction
        before = reconstruction[:-2]  # of all levels but the first and the last
        inner = reconstruction[1:-1] - (before - before.detach())  # the same numbers
        return torch.cat([reconstruction[:1], inner, reconstruction[-1:]])

    def together(self, errors: Float[Tensor, "*level"]) -> Float[Tensor, ""]:
        """Returns the errors of all levels as one, the mean over any axis behind that of the levels taken."""
        if self.weighed:
            errors = errors * self.level_weights.reshape(-1, *[1] * (errors.dim() - 1))
        return errors.mean() * self.share


def _check(spec: LevelledSpec, levels: int) -> None:
    """Refuses settings of levels that do not suit the reconstruction.

    Raises:
        AssemblyError: naming the setting, and how many levels there are.
    """
    there = f"it has {levels} levels" if levels else "it has no level axis"
    if spec.level_weights is not None and len(spec.level_weights) != levels:
        what = f"level_weights needs one weight for each level of the reconstruction, the whole code last; {there}"
        raise AssemblyError([f"{what}, and there are {len(spec.level_weights)} weights: {spec.level_weights!r}"])
    if spec.inner == "added" and levels < 3:
        what = f"inner: added is about levels between the first and the last, so the reconstruction needs three at least; {there}"
        raise AssemblyError([f"{what}: leave it out, or add levels"])
