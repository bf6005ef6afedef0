"""Scaling to a mean squared norm of d."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks.inputs._base import Input
from archsearch.blocks.signals import Sizes
from archsearch.errors import DataError
from archsearch.spec.block import BlockSpec, Field, Paper


class Scaling(Input):
    """Multiplies activations by one factor `s`, so that E|s x|^2 = d, the width of the model's space.

    Coefficients then mean the same for every model and layer.

    State: `factor`, fitted on rows of the calibrate split.

    Differs from the paper: Gemma Scope scales to E|x|^2 = 1; the target here is d, as Anthropic's E|x| = sqrt(d) nearly is.
    """

    class Spec(BlockSpec):
        kind: Literal["scaling"] = "scaling"
        power: float = Field(1.0, ge=0, le=1, description="Exponent of the factor: 1 scales fully, 0 leaves activations as they are.")

    paper = Paper(title="Gemma Scope", url="https://arxiv.org/abs/2408.05147", where="section 3.2, normalisation")

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.power = spec.power
        self.state("factor", torch.ones(()))

    def fit(self, rows: Float[Tensor, "batch model"]) -> None:
        """Sets the factor to (d / E|x|^2) ^ (power / 2), in float64.

        Raises:
            DataError: all rows are zero.
        """
        mean_square = rows.double().square().sum(-1).mean()
        if not mean_square > 0:
            raise DataError("activations must not all be zero: no scale can be fitted")
        self.factor.copy_((rows.shape[-1] / mean_square) ** (self.power / 2))

    def forward(self, x: Float[Tensor, "batch model"]) -> Float[Tensor, "batch model"]:
        return x * self.factor

    def inverse(self, y: Float[Tensor, "*batch model"]) -> Float[Tensor, "*batch model"]:
        return y / self.factor
