"""What gates that choose latents one after another share: the count of turns, what a turn chooses, and when a row has had enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archsearch.blocks._ramps import KSpec, k_at
from archsearch.blocks._sums import wide
from archsearch.blocks.gates._counting import Counting
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field

TINY = 1e-24


class PursuitSpec(KSpec):
    """Settings of a gate that chooses latents one after another."""

    k: int = Field(32, ge=1, description="Turns, of which each chooses one latent per row (count).")
    tolerance: float = Field(
        1e-5, ge=0, lt=1, description="A row stops where no latent exceeds this share of the first choice (0 to 1); above rounding."
    )


@dataclass(frozen=True)
class Choice:
    """What one turn chooses in every row: the latent, its inner product with what is left, and whether the row still takes part."""

    place: Int[Tensor, "batch one"]
    best: Float[Tensor, "batch one"]
    on: Tensor


class Pursuit(Counting, abstract=True):
    """Explains each row by the dictionary, one latent a turn, reading pre-activations as inner products with dictionary rows.

    `pre` stands for `h_j = <x, d_j>`, so that what is left of it after a partial reconstruction `v` is `h_j - <v, d_j>`: the gate needs
    no activation. That holds exactly behind a `tied_encoder` without a bias. Behind any other encoder the gate is what it was there,
    a choice among pre-activations, in which latents that are on inhibit those whose rows resemble theirs.
    """

    inputs = {"pre": Port((Signal.PRE,)), "dictionary": Port((Signal.DICTIONARY, Signal.WEIGHT), default="dictionary")}
    no_threshold = "what is kept depends on what was chosen before, so no threshold tells it from the rest"

    def __init__(self, spec: Any, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("tolerance", float(spec.tolerance))

    @classmethod
    def l0_range(cls, spec: Any) -> tuple[float, float]:
        """Returns the least and the most latents a row may have on, as far as settings alone tell."""
        return (1.0, float(spec.k))

    @classmethod
    def turns(cls, spec: Any, sizes: Sizes) -> int:
        """Returns the turns a step computes, whatever a member's count is at the time."""
        return sizes.bound(max(spec.k, spec.k_start or 0))

    def taking(self, progress: Tensor | None, pre: Tensor) -> Tensor:
        """Returns which turns count at this point of the run, [turns]."""
        return torch.arange(self.k_bound, device=pre.device) < k_at(self, progress).round()

    @torch.no_grad()
    def choose(
        self,
        pre: Float[Tensor, "batch latent"],
        dictionary: Float[Tensor, "latent model"],
        rebuilt: Float[Tensor, "batch model"] | None,
        first: Float[Tensor, "batch one"] | None,
        taken: Tensor | None = None,
    ) -> Choice:
        """Returns the latent whose unit row has the largest inner product with what is left.

        `rebuilt`: the reconstruction so far, `first`: the product of the first turn, None where this is the first; `taken`: latents that
        may not be chosen, [batch, latent].
        """
        left = wide(pre) if rebuilt is None else wide(pre) - rebuilt @ dictionary.T
        score = left * dictionary.square().sum(-1).clamp(min=TINY).rsqrt()
        score = score if taken is None else score.masked_fill(taken, -torch.inf)
        best, place = score.max(-1, keepdim=True)
        least = self.tolerance * (best if first is None else first).clamp(min=0)
        # Not `>`: NaN must stay.
        return Choice(place, best, ~(best <= least))
