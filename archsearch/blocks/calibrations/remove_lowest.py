"""Removal of the lowest activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks.calibrations._base import Calibration
from archsearch.errors import InvalidInput, Problem
from archsearch.spec.block import BlockSpec, Field, Paper

SORTED = 2**22
"""Entries of a code that are sorted at once: sorting takes several times their memory."""


class RemoveLowest(Calibration):
    """Cuts every activation below a cut-off to zero, `f = f 1[|f| >= c_i]`, the cut-offs chosen after training on calibrate rows.

    Either the effective L0 there becomes `l0`, or the lowest `share` of the nonzero activations goes; with several dictionaries each
    loses the same share. Signed codes are cut by size.

    With `per: all` one cut-off serves all latents of a dictionary: rows and latents with small activations lose most. With `per: latent`
    every latent loses the same share of its own firings: of `n_i` of them on those rows it keeps the largest `ceil(s n_i)`, with the one
    `s` that gives the wanted total (latents that are equally due get the last ones in their order). So none that fired falls silent
    there, and an L0 that would take that is not reached.

    A cut-off is the smallest activation that is kept, zero for a latent that loses nothing. Training knows nothing of it.

    Differs from the paper: chosen for a wanted L0 or share, not set by hand.
    """

    class Spec(BlockSpec):
        kind: Literal["remove_lowest"] = "remove_lowest"
        l0: float | None = Field(None, gt=0, description="Effective L0 to leave on calibrate rows (latents per row); or give `share`.")
        share: float | None = Field(None, gt=0, lt=1, description="Share of nonzero activations to remove (0 to 1); or give `l0`.")
        per: Literal["latent", "all"] = Field("latent", description="A cut-off for each latent, or one for all of a dictionary.")

        @model_validator(mode="after")
        def _one(self) -> RemoveLowest.Spec:
            if (self.l0 is None) == (self.share is None):
                raise ValueError(f"give either l0 or share, one of the two; got l0: {self.l0!r}, share: {self.share!r}")
            return self

    paper = Paper(
        title="Improving SAE's by Sqrt()-ing L1 and removing lowest activating features",
        url="https://www.lesswrong.com/posts/YiGs8qJ8aNBgwt2YN/improving-sae-s-by-sqrt-ing-l1-and-removing-lowest",
        where="ablating lowest features",
    )

    l0_setting = "l0"

    def __init__(self, spec: Spec):
        super().__init__()
        self.l0, self.share, self.per = spec.l0, spec.share, spec.per

    def suits(self, dense_rank: int) -> None:
        if self.l0 is not None and self.l0 <= dense_rank:
            what = f"l0 must be above {dense_rank}, the rank that flows past every code and counts in L0; got {self.l0:g}"
            raise InvalidInput([Problem(what, "calibration.l0")])

    def keeps(self, l0: float, dense_rank: int) -> float:
        if self.l0 is None:
            assert self.share is not None  # one of the two is given
            return 1 - self.share
        return min((self.l0 - dense_rank) / (l0 - dense_rank), 1.0) if l0 > dense_rank else 1.0

    def cutoffs(self, code: Float[Tensor, "rows latent"], counts: Sequence[int]) -> Float[Tensor, "counts latent"]:
        size = code.abs()
        if self.per == "latent":
            return torch.stack([_each(size, count) for count in counts])
        fired = size[size > 0].sort().values
        least = [fired[-max(count, 1)] if count < len(fired) else fired.new_zeros(()) for count in counts]
        return torch.stack(least)[:, None].repeat(1, size.shape[1])

    def remark(self, before: float, after: float) -> str:
        if self.l0 is None:
            return ""
        if self.l0 > before:
            return f"asked to leave L0 {self.l0:g}, the calibration found only {before:.1f} and removed nothing"
        if after > 1.05 * self.l0:
            why = "every latent that fired keeps one firing at least (`per: all` goes lower)" if self.per == "latent" else "values are tied"
            return f"asked to leave L0 {self.l0:g}, the calibration leaves {after:.1f}: {why}"
        return ""


def _each(size: Float[Tensor, "rows latent"], count: int) -> Float[Tensor, " latent"]:
    fired = (size > 0).sum(0)
    kept = _kept(fired, count)
    at_once = max(SORTED // max(len(size), 1), 1)
    smallest = [_smallest(*part) for part in zip(size.split(at_once, 1), kept.split(at_once), strict=True)]
    return torch.where(kept < fired, torch.cat(smallest), 0.0)


def _smallest(size: Float[Tensor, "rows latent"], kept: Tensor) -> Float[Tensor, " latent"]:
    largest = size.topk(max(int(kept.max()), 1), dim=0).values
    return largest.gather(0, (kept - 1).clamp(min=0)[None])[0]


def _kept(fired: Tensor, count: int) -> Tensor:
    """Returns how many of its firings each latent keeps: `ceil(s * fired)`, `count` together."""
    firings = fired.double()

    def at(share: float) -> Tensor:
        return (firings * share).ceil().long().clamp(max=fired)

    low, high = 0.0, 1.0  # of `s`: too few or just enough; too many, or all
    if int(at(high).sum()) <= count:
        return fired
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if int(at(middle).sum()) <= count else (low, middle)
    kept = torch.minimum(at(low).clamp(min=1), fired)
    due = at(high) > kept  # those whose next firing falls between the two
    return kept + (due & (due.cumsum(0) <= count - kept.sum())).long()
