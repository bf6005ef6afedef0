"""Errors relative to a variance."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._sums import wide


def relative(missed: Float[Tensor, ""], values: Float[Tensor, "batch model"]) -> Float[Tensor, ""]:
    """Returns `missed` over the variance of `values` about their batch mean, times d; zero where there is none."""
    values = wide(values)
    variance = (values - values.mean(0)).square().sum(-1).mean()
    usable = variance > 0  # a perfect reconstruction, or a batch of one row, has none
    return torch.where(usable, missed * values.shape[-1] / torch.where(usable, variance, 1.0), 0.0)
