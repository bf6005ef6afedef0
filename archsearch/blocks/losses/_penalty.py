"""What penalties on a code share: the code, and the norms its latents may count with."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec


class PenaltySpec(LossSpec):
    """Settings every penalty on a code has."""

    norm: Literal["plain", "dictionary"] = Field("plain", description="Weigh latents alike, or by the norm of their dictionary row.")


class Penalty(Loss, abstract=True):
    """A function of the sizes of a code's entries, `|f_i|`, or `|f_i| |d_i|` with `norm: dictionary`.

    Gradient: with `norm: dictionary` it reaches the dictionary rows too, through their norms; a detached wire
    (`from: {dictionary: {signal: decoder.dictionary, detach: true}}`) stops it there.
    """

    sparsity = "weight"
    inputs = {
        "code": Port((Signal.CODE,), default="code", levels=True),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary"),
    }

    def __init__(self, spec: PenaltySpec, sizes: Sizes):
        super().__init__(spec)

    @classmethod
    def ports(cls, spec: Any) -> dict[str, Port]:
        return cls.inputs if spec.norm == "dictionary" else {"code": cls.inputs["code"]}


def sizes_of(code: Float[Tensor, "*batch latent"], dictionary: Float[Tensor, "latent model"] | None) -> Float[Tensor, "*batch latent"]:
    """Returns `|f_i|`, or `|f_i| |d_i|` where there is a dictionary; its slope is 1 at `f_i = 0`.

    A gate with pseudo-gradients learns from rows just below its threshold, where the code is zero: `abs`, flat there, would hide them.
    """
    size = wide(torch.where(code < 0, -code, code))
    return size if dictionary is None else size * dictionary.norm(dim=-1)


def power(value: Float[Tensor, "*shape"], exponent: Tensor) -> Float[Tensor, "*shape"]:
    """Returns `value ^ exponent` for values of at least zero; its slope at zero is 1 for an exponent of one, else taken as 0."""
    on = value > 0
    # `where` twice: the branch not taken must be finite too, or its gradient is 0 * inf = NaN.
    return torch.where(on, torch.where(on, value, 1.0) ** exponent, value * (exponent == 1))
