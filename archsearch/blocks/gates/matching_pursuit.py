"""Matching pursuit gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.gates._pursuit import TINY, Pursuit, PursuitSpec
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Paper


class MatchingPursuit(Pursuit):
    """Adds in each of `k` turns the latent that best explains what is left: `f_i += a`, `r -= a d_i`, `a = relu(<r, d_i>) / |d_i|^2`.

    `i` is the latent with the largest `<r, d_i> / |d_i|`, `r_0` the activation the encoder read (after a pre-bias: `x - b`). A latent may
    be chosen again, so a row has at most `k` on. A row stops where the best inner product is at most `tolerance` times the first.

    It is a gate, not an encoder: `r` enters through inner products alone, which are pre-activations less those of the reconstruction so
    far, `<r, d_j> = h_j - <f D, d_j>`. So it stands wherever a gate does; the published SAE is `tied_encoder` (`bias: false`) before it. A
    dictionary of any norms gives the reconstructions its unit rows would: codes are divided by the norm.

    Gradient: through the values of all turns, into pre-activations and dictionary rows; the choices have none.

    Differs from the paper: its implementations differ among themselves. Overcomplete keeps negative values and takes exactly `k` turns.
    SAELens stops a row at a norm of what is left, or as soon as a turn chooses no new latent, and does not divide by `|d_i|^2`, although
    its rows leave norm 1 in training. With `tolerance: 0` this gate is SAELens' with neither stop, at unit norm.
    """

    class Spec(PursuitSpec):
        kind: Literal["matching_pursuit"] = "matching_pursuit"

    paper = Paper(
        title="From flat to hierarchical: extracting sparse representations with matching pursuit",
        url="https://arxiv.org/abs/2506.03093",
        where="MP-SAE: matching pursuit unrolled as the encoder",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        turns = cls.turns(spec, sizes)
        return 2 * sizes.model * ((turns - 1) * sizes.latent + 2 * turns)  # the first turn reads pre-activations as they are

    def forward(
        self, pre: Float[Tensor, "batch latent"], dictionary: Float[Tensor, "latent model"], progress: Float[Tensor, ""] | None = None
    ) -> Out:
        heights = wide(pre)
        rebuilt = heights.new_zeros(*pre.shape[:-1], dictionary.shape[-1])
        first, values, places = None, [], []
        for turn, taking in enumerate(self.taking(progress, pre)):
            choice = self.choose(pre, dictionary, rebuilt if turn else None, first)
            first, row = choice.best if first is None else first, dictionary[choice.place.squeeze(-1)]
            left = heights.gather(-1, choice.place) - (rebuilt * row).sum(-1, keepdim=True)
            value = left.relu() / row.square().sum(-1, keepdim=True).clamp(min=TINY)
            value = torch.where(choice.on & taking, value, 0.0)
            rebuilt = rebuilt + value * row
            values.append(value)
            places.append(choice.place)
        code = torch.zeros_like(heights).scatter_add(-1, torch.cat(places, -1), torch.cat(values, -1))
        return Out(code=code.to(pre.dtype))
