"""What inits that copy dictionary rows into encoders share: the draws, the copies, and the centre of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor

from archsearch.blocks.views import DictionaryView, LatentParameter, Rows, SAEView

Center = Literal["zero", "mean", "geometric_median"]
"""Start of the bias added to reconstructions."""

Choose = Callable[[DictionaryView, str, Tensor], Tensor]
"""Returns unit rows for a dictionary, from the signal they are directions in and random unit rows."""


@torch.no_grad()
def transpose(sae: SAEView, generator: Generator, norm: float, choose: Choose | None = None) -> None:
    """Draws every matrix; a dictionary's rows are `choose`'s, or random, and its linear encoders' rows are copies of them (in place).

    Rows have norm `norm`; those of a dictionary kept at unit norm start there. Of several dictionaries of a code, an encoder takes the one
    of its own hook point. A dictionary that rebuilds a hook point which no encoder of its latents reads has nothing to be transposed to: it
    starts as zero (at random directions where it is kept at unit norm). Rows that a decoder makes of other parameters stay as they are.
    """
    for value in sae.free.values():
        if value.dim() >= 2:
            value.copy_(_normal(value, generator) / value.shape[-1] ** 0.5)
    for dictionary in sae.dictionaries:
        _start(dictionary, generator, norm, choose)


def _start(dictionary: DictionaryView, generator: Generator, norm: float, choose: Choose | None) -> None:
    rows: list[tuple[LatentParameter | Rows, Tensor]] = []
    for parameter in dictionary.own:
        if parameter.value.dim() < 2:
            continue
        drawn = _unit(_normal(parameter.value, generator))
        if parameter.role == "dictionary":
            foreign = dictionary.foreign(parameter)
            if choose is not None and not foreign:
                drawn = choose(dictionary, parameter.source, drawn)
            parameter.value.copy_(drawn * (1.0 if dictionary.unit_norm else 0.0 if foreign else norm))
            rows += [] if foreign else [(parameter, drawn)]
        elif not parameter.role and parameter.drawn:
            parameter.value.copy_(drawn)
    rows += [(made, made.now()) for made in dictionary.made if not dictionary.foreign(made)]
    for weight in dictionary.role("weight"):
        source = _rows_for(weight, rows)
        if source is None:
            source = _normal(weight.value, generator)
            source = source if choose is None else choose(dictionary, weight.source, _unit(source))
        weight.value.copy_(_unit(source) * norm)


def _rows_for(weight: LatentParameter, rows: list[tuple[LatentParameter | Rows, Tensor]]) -> Tensor | None:
    """Returns the rows of the dictionary an encoder belongs to: of the same signal, else of the same hook point; None without one."""
    same = [drawn for dictionary, drawn in reversed(rows) if dictionary.source == weight.source]
    near = [drawn for dictionary, drawn in rows if not dictionary.hooks or not weight.hooks or dictionary.hooks & weight.hooks]
    return next(iter((*same, *near)), None)


@torch.no_grad()
def center_biases(sae: SAEView, generator: Generator, center: Center, count: int) -> None:
    """Sets the biases added to reconstructions to a centre of `count` rows of the data (in place)."""
    if center == "zero":
        return
    rows = sae.sample(count, generator)
    for source, bias in sae.biases:
        values = rows[source].to(bias.dtype)
        bias.copy_(values.mean(0) if center == "mean" else geometric_median(values))


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


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _normal(like: Tensor, generator: Generator) -> Tensor:
    # Drawn on the generator's device and in float64, so that every precision and device starts from the same numbers.
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64, device=generator.device)
    return drawn.to(device=like.device, dtype=like.dtype)
