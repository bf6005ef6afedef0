"""Orthogonality of the dictionary."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Given, Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class Orthogonality(Loss):
    """Penalises each dictionary row for the one most like it: `d * mean_i max_j cos(d_i, d_j)^2`, j other than i.

    Where there are more than `chunk` latents they are dealt at random, afresh every step, into as few chunks as hold `chunk` at most, all
    of one size but for the last; `j` is looked for in the chunk of `i`. A step costs `latents * chunk * d` multiply-adds on top of the
    SAE's own, and memory for a few times `latents * chunk` numbers. A row of zeros is like no other.

    Gradient: reaches both rows of a pair; rows that are equal or opposite get none, the cosine having its extreme there.

    Differs from the paper: formula, the coefficient of 0.25 and chunks of 8192 are written down from memory and have not been compared
    with its text. The factor d supposes that the error beside it is a mean over d there; here it is a sum.
    """

    class Spec(LossSpec):
        kind: Literal["orthogonality"] = "orthogonality"
        weight: float = Field(0.25, ge=0, allow_inf_nan=False, description="Coefficient of the term (in units of E|x|^2 = d).")
        chunk: int | None = Field(8192, ge=2, description="Latents compared with one another, at most (count); null: all.")

    paper = Paper(
        title="OrtSAE: Orthogonal sparse autoencoders uncover atomic features",
        url="https://arxiv.org/abs/2509.22033",
        where="the orthogonality penalty",
    )
    inputs = {"dictionary": Port((Signal.DICTIONARY,), default="dictionary")}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        self.chunk = spec.chunk

    @classmethod
    def given(cls, spec: Any) -> dict[str, Given]:
        return {} if spec.chunk is None else {"uniform": Given.LATENT_UNIFORM}

    def forward(self, dictionary: Float[Tensor, "latent model"], uniform: Float[Tensor, " latent"] | None = None) -> Out:
        rows = wide(dictionary)
        latents = len(rows)
        unit = rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        chunks = 1 if uniform is None or self.chunk is None else -(-latents // self.chunk)
        size = -(-latents // chunks)
        if uniform is not None and chunks > 1:
            unit = pad(unit[uniform.argsort()], (0, 0, 0, chunks * size - latents))  # zeros, like no row
        unit = unit.reshape(chunks, size, -1)
        alike = wide(unit @ unit.mT).square()
        others = ~torch.eye(size, dtype=torch.bool, device=alike.device)
        return Out(loss=(alike * others).amax(-1).sum() * (rows.shape[-1] / latents))
