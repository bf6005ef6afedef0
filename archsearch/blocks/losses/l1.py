"""L1 penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class L1(Loss):
    """Sums the absolute values of the code, and takes the mean over rows: `mean_b sum_i |f_i|`.

    With `norm: dictionary` each latent counts with the norm of its dictionary row, `|f_i| |d_i|`, so that a free decoder cannot escape
    the penalty by growing.
    """

    class Spec(LossSpec):
        kind: Literal["l1"] = "l1"
        norm: Literal["plain", "dictionary"] = Field("plain", description="Weigh latents alike, or by the norm of their dictionary row.")

    paper = Paper(
        title="Circuits updates, April 2024", url="https://transformer-circuits.pub/2024/april-update", where="training SAEs: the loss"
    )
    sparsity = "weight"
    inputs = {
        "code": Port((Signal.CODE,), default="code", levels=True),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary"),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.norm == "dictionary" else {"code": cls.inputs["code"]}

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Float[Tensor, "latent model"] | None = None) -> Out:
        size = code.abs() if dictionary is None else code.abs() * dictionary.norm(dim=-1)
        return Out(loss=size.sum(-1).mean())
