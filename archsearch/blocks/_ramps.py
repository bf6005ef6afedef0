"""Ramps: a setting that moves from one value to another over the first part of the run; and the count of latents kept, which may."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks.signals import Given, Sizes
from archsearch.spec.block import Field, StepSpec, refuse_unused

Number = Tensor | float | int

Shape = Literal["linear", "exponential"]
"""Path of a ramp: equal differences, or equal ratios, in equal times."""


def ramp(progress: Tensor, start: Number, end: Number, over_frac: Number, shape: Shape = "linear") -> Tensor:
    """Returns the value at `progress` of a ramp from `start` to `end` over the first `over_frac` of the run; exactly `end` after it.

    Shapes: all zero-dimensional, `progress` a share of the run (0 to 1). `exponential` needs `start` and `end` of one sign, not zero.
    """
    first, last = (torch.as_tensor(value, device=progress.device).to(progress.dtype) for value in (start, end))
    share = (progress / over_frac).clamp(max=1)
    value = first + (last - first) * share if shape == "linear" else first * (last / first) ** share
    return torch.where(share >= 1, last, value)


class KSpec(StepSpec):
    """Settings of a gate whose count of latents kept, `k`, may start elsewhere than it ends.

    The two may be equal, and the ramp flat: a sweep over `k` passes `k_start` on its way.
    """

    k: int
    k_start: int | None = Field(
        None, ge=1, description="Latents kept per row when the run begins (count); null, or the same as k: k from the start."
    )
    anneal_frac: float | None = Field(None, gt=0, le=1, description="Share of the run over which k_start becomes k (0 to 1).")
    anneal: Shape = Field("linear", description="Path from k_start to k: equal differences, or equal ratios, in equal times.")

    @model_validator(mode="after")
    def _annealing(self) -> KSpec:
        if self.k_start is None:
            return refuse_unused(self, ("anneal_frac", "anneal"), "k_start: null")
        if self.anneal_frac is None:
            raise ValueError("k_start needs anneal_frac, the share of the run over which it becomes k")
        return self

    def k_given(self) -> dict[str, Given]:
        """Returns what a gate with these settings is handed besides its ports: progress, if `k` moves with it."""
        return {} if self.k_start is None else {"progress": Given.PROGRESS}


def set_k(gate: Any, spec: KSpec, sizes: Sizes) -> None:
    """Registers `k`, the static bound `k_bound` no member's `k` ever exceeds, and the ramp if there is one."""
    gate.k_bound = sizes.bound(max(spec.k, spec.k_start or 0))  # static, shared by the group; members differ in k below it
    gate.setting("k", spec.k)
    gate.anneal = spec.anneal
    if spec.k_start is not None and spec.anneal_frac is not None:
        gate.setting("k_start", spec.k_start)
        gate.setting("anneal_frac", spec.anneal_frac)


def k_at(gate: Any, progress: Float[Tensor, ""] | None) -> Tensor:
    """Returns the count of latents kept per row at this point of the run, not rounded; `k` at inference, where there is no progress."""
    return gate.k if progress is None else ramp(progress, gate.k_start, gate.k, gate.anneal_frac, gate.anneal)
