"""Hoyer penalty."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper


class Hoyer(Penalty):
    """Compares two norms of each row of the code: minimising it makes rows sparser whatever their size.

    `form: ratio` is `mean_b |f|_1 / |f|_2`, from 1 (one latent) to sqrt(latents) (all alike). `form: score` is one minus Hoyer's
    sparseness, `mean_b (|f|_1 / |f|_2 - 1) / (sqrt(latents) - 1)`, from 0 to 1. A row of zeros counts 0. The square of a ratio is at most
    the number of latents that are on, and equal to it where all of them are alike.

    Gradient: at right angles to the row, so no row is shrunk; it grows as 1 / |f|_2 where a row fades, so clipping matters; zero at a row
    of zeros.

    Differs from the paper: sparseness is maximised by a projection there; here its complement is a term of the loss. overcomplete's
    `mse_hoyer` adds the sparseness itself, which a positive coefficient makes smaller: its codes become denser.
    """

    class Spec(PenaltySpec):
        kind: Literal["hoyer"] = "hoyer"
        form: Literal["ratio", "score"] = Field("ratio", description="Ratio of the norms, or one minus the sparseness (0 to 1).")

    paper = Paper(
        title="Non-negative matrix factorization with sparseness constraints",
        url="https://arxiv.org/abs/cs/0408058",
        where="the sparseness measure",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.score = spec.form == "score"

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None = None) -> Out:
        size = self.sizes(code, dictionary)
        squares = size.square().sum(-1)
        on = squares > 0
        ratio = size.sum(-1) / torch.where(on, squares, 1.0).sqrt()
        if self.score:
            most = size.shape[-1] ** 0.5
            ratio = (ratio - 1) / (most - 1 if most > 1 else 1.0)  # a single latent has ratio 1 and score 0
        return Out(loss=torch.where(on, ratio, 0.0).mean())
