"""Initialisation from data points."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from archsearch.blocks.inits._base import Init
from archsearch.blocks.inits._transposing import Center, center_biases, transpose
from archsearch.blocks.views import DictionaryView, SAEView
from archsearch.spec.block import BlockSpec, Field, Paper


class DataPoints(Init):
    """Starts each dictionary row as a noisy data point, and copies the rows into every linear encoder of the dictionary: W = D (DPI).

    Row `i` is `blend u + (1 - blend) r` at norm 1: `u` the direction of one row of the train split from the mean of `rows` of them, `r`
    a random unit vector. A dictionary's rows are data points of what its encoder reads, a different one each while there are enough. All
    else starts as with `transposed`.

    Differs from the paper: it gives no formula for the noise; shares are those of a published implementation, which blends the data point
    itself with a row of Kaiming's uniform start, so that the share of noise there depends on the size of activations.
    """

    class Spec(BlockSpec):
        kind: Literal["data_points"] = "data_points"
        blend: float = Field(0.8, gt=0, le=1, description="Share of the data point in a row, the rest being random (0 to 1).")
        bias: Center = Field("mean", description="Start of the bias added to reconstructions.")
        rows: int = Field(4096, ge=2, description="Rows of data that points are taken from, and centres computed from (count).")

    paper = Paper(
        title="Circuits updates, October 2025",
        url="https://transformer-circuits.pub/2025/october-update",
        where="data point initialization",
    )

    def __init__(self, spec: Spec):
        super().__init__()
        self.blend, self.rows = spec.blend, spec.rows
        self.center: Center = spec.bias

    def apply_to(self, sae: SAEView, generator: Generator) -> None:
        center_biases(sae, generator, self.center, self.rows)
        rows = sae.sample(self.rows, generator)
        chosen: dict[str, Tensor] = {}

        def choose(dictionary: DictionaryView, source: str, drawn: Tensor) -> Tensor:
            # Signals as they are once the dictionaries before this one have their rows.
            values = sae.signals(rows)[source].to(drawn.dtype)
            if dictionary.name not in chosen:
                order = torch.randperm(len(values), generator=generator)
                chosen[dictionary.name] = order[torch.arange(len(drawn)) % len(order)].to(values.device)
            away = values - values.mean(0)
            points = away[chosen[dictionary.name]]
            size = points.norm(dim=-1, keepdim=True)
            mixed = self.blend * points / size.clamp(min=1e-12) + (1 - self.blend) * drawn
            mixed = torch.where(size > 0, mixed, drawn)  # a point in the very centre has no direction
            return mixed / mixed.norm(dim=-1, keepdim=True).clamp(min=1e-12)

        transpose(sae, generator, 1.0, choose)
