"""Transposed initialisation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from archsearch.blocks.inits._base import Init
from archsearch.blocks.views import SAEView
from archsearch.spec.block import BlockSpec, Field, Paper


class Transposed(Init):
    """Draws random unit dictionary rows, scales them by `norm`, and copies them into every linear encoder of the dictionary: W = D.

    A dictionary kept at unit norm starts there whatever `norm` says; its encoder still starts at `norm`. Biases start at zero, or (the bias
    of the reconstruction) at a centre of the data. Matrices elsewhere get entries of variance 1 / fan-in.
    """

    class Spec(BlockSpec):
        kind: Literal["transposed"] = "transposed"
        norm: float = Field(1.0, gt=0, description="Norm of the dictionary's and the encoder's rows.")
        bias: Literal["zero", "mean", "geometric_median"] = Field("zero", description="Start of the bias added to reconstructions.")
        rows: int = Field(4096, ge=1, description="Rows of data the centre is computed from (count).")

    paper = Paper(
        title="Scaling and evaluating sparse autoencoders", url="https://arxiv.org/abs/2406.04093", where="appendix A.1, initialisation"
    )

    def __init__(self, spec: Spec):
        super().__init__()
        self.norm, self.center, self.rows = spec.norm, spec.bias, spec.rows

    @torch.no_grad()
    def apply_to(self, sae: SAEView, generator: Generator) -> None:
        for value in sae.free.values():
            if value.dim() >= 2:
                value.copy_(_normal(value, generator) / value.shape[-1] ** 0.5)
        for dictionary in sae.dictionaries:
            rows: dict[str, Tensor] = {}
            for parameter in dictionary.own:
                if parameter.value.dim() < 2:
                    continue
                drawn = _normal(parameter.value, generator)
                drawn /= drawn.norm(dim=-1, keepdim=True)
                if parameter.role == "dictionary":
                    rows[parameter.source] = drawn
                    parameter.value.copy_(drawn * (1.0 if dictionary.unit_norm else self.norm))
                elif not parameter.role and parameter.drawn:
                    parameter.value.copy_(drawn)
            for weight in dictionary.role("weight"):
                # Of several dictionaries of one code, the one of the same hook point.
                source = rows.get(weight.source, next(iter(rows.values()), None))
                source = _normal(weight.value, generator) if source is None else source
                weight.value.copy_(source / source.norm(dim=-1, keepdim=True) * self.norm)
        if self.center != "zero":
            self._center_biases(sae, generator)

    def _center_biases(self, sae: SAEView, generator: Generator) -> None:
        rows = sae.sample(self.rows, generator)
        for source, bias in sae.biases:
            values = rows[source].to(bias.dtype)
            bias.copy_(values.mean(0) if self.center == "mean" else geometric_median(values))


def geometric_median(rows: Tensor, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
    """Returns the point with the least sum of distances to `rows` [batch, model], by Weiszfeld's iteration with guarded distances."""
    guess = rows.mean(0)
    for _ in range(iterations):
        weights = 1 / (rows - guess).norm(dim=-1, keepdim=True).clamp(min=1e-8)
        moved = (weights * rows).sum(0) / weights.sum()
        if (moved - guess).norm() <= tolerance * guess.norm():
            return moved
        guess = moved
    return guess


def _normal(like: Tensor, generator: Generator) -> Tensor:
    # Drawn on the generator's device and in float64, so that every precision and device starts from the same numbers.
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64, device=generator.device)
    return drawn.to(device=like.device, dtype=like.dtype)
