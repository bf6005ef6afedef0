"""What penalties on a code share: the code, and the norms its latents may count with."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, LossSpec, refuse_unused

Rows = list[Float[Tensor, "latent model"]]
"""Dictionaries of one code."""

Dictionaries = Literal["sum", "concatenated"]
DICTIONARIES: Any = Field(
    "sum", description="Norm of a latent whose code several decoders read: sum of its norms, or norm of its rows side by side."
)
"""How the norms of several dictionaries of one code are put together."""


class PenaltySpec(LossSpec):
    """Settings every penalty on a code has."""

    norm: Literal["plain", "dictionary"] = Field("plain", description="Weigh latents alike, or by the norm of their dictionary row.")
    dictionaries: Dictionaries = DICTIONARIES

    @model_validator(mode="after")
    def _norms_used(self) -> PenaltySpec:
        return refuse_unused(self, ("dictionaries",) if self.norm == "plain" else (), "norm: plain")


class Penalty(Loss, abstract=True):
    """A function of the sizes of a code's entries, `|f_i|`, or `|f_i| |d_i|` with `norm: dictionary`.

    Where several decoders read the code, as those of a crosscoder do, `|d_i|` is `sum_l |d_i^l|` over all of them, or with
    `dictionaries: concatenated` the root of `sum_l |d_i^l|^2`; a decoder that borrows another's rows counts as well.

    Gradient: with `norm: dictionary` it reaches the dictionary rows too, through their norms; a detached wire
    (`from: {dictionary: {signal: decoder.dictionary, detach: true}}`) stops it there.
    """

    sparsity = "weight"
    inputs = {
        "code": Port((Signal.CODE,), default="code", levels=True),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary", many=True),
    }

    def __init__(self, spec: PenaltySpec, sizes: Sizes):
        super().__init__(spec)
        self.norms = Norms(spec.dictionaries, sizes)

    @classmethod
    def ports(cls, spec: Any) -> dict[str, Port]:
        return cls.inputs if spec.norm == "dictionary" else {"code": cls.inputs["code"]}

    def sizes(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None) -> Float[Tensor, "*batch latent"]:
        """Returns the size each entry of the code counts with."""
        size = sizes_of(code)
        return size if dictionary is None else size * self.norms(dictionary)


class Norms:
    """Norm of each latent's rows in one dictionary or several, [latent]."""

    def __init__(self, joined: str, sizes: Sizes):
        self.joined = joined == "concatenated"
        if self.joined and len(sizes.inputs.get("dictionary", ())) < 2:
            raise AssemblyError(["`dictionaries: concatenated` cannot act on one dictionary; leave it out, or wire several"])

    def __call__(self, dictionaries: Rows) -> Float[Tensor, " latent"]:
        if self.joined:
            return torch.cat(dictionaries, -1).norm(dim=-1)
        return torch.stack([rows.norm(dim=-1) for rows in dictionaries]).sum(0)


def sizes_of(code: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
    """Returns `|f_i|`; its slope is 1 at `f_i = 0`.

    A gate with pseudo-gradients learns from rows just below its threshold, where the code is zero: `abs`, flat there, would hide them.
    """
    # Added zero, -0 is 0: what a gate cut off from below is one too. Faster than `where(code < 0, -code, code)`.
    return wide(code * torch.copysign(code.new_ones(()), code.detach() + 0.0))


def power(value: Float[Tensor, "*shape"], exponent: Tensor) -> Float[Tensor, "*shape"]:
    """Returns `value ^ exponent` for values of at least zero; its slope at zero is 1 for an exponent of one, else taken as 0."""
    on = value > 0
    # `where` twice: the branch not taken must be finite too, or its gradient is 0 * inf = NaN.
    return torch.where(on, torch.where(on, value, 1.0) ** exponent, value * (exponent == 1))
