"""Elastic penalty."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.losses._penalty import sizes_of
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class Elastic(Loss):
    """Mixes absolute values with squares: `(1 - a) mean_b sum_i |f_i| + a S`, a = `square_share`.

    `squares: code` (the elastic net): `S = mean_b sum_i f_i^2`. `squares: dictionary` (the package overcomplete):
    `S = sum_i |d_i|^2 / d`, a mean over the model's dimensions and a sum over latents, which keeps a decoder of free norm from growing
    while its code shrinks; at norm 1 it is a constant. overcomplete takes means throughout, of the squared error too: its coefficient
    times d / latents is `weight` here, with the same a.

    Gradient: `(1 - a) sign(f) + 2 a f`: squares shrink large entries most, and none to zero; sparsity comes from the first term.
    """

    class Spec(LossSpec):
        kind: Literal["elastic"] = "elastic"
        square_share: float = Field(0.5, ge=0, le=1, description="Share a of the squares (0 to 1); the rest is absolute values.")
        squares: Literal["code", "dictionary"] = Field("code", description="What is squared.")

    paper = Paper(
        title="Regularization and variable selection via the elastic net",
        url="https://doi.org/10.1111/j.1467-9868.2005.00503.x",
        where="the elastic net penalty",
    )
    sparsity = "weight"
    inputs = {
        "code": Port((Signal.CODE,), default="code", levels=True),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary"),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        self.setting("square_share", float(spec.square_share))

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.squares == "dictionary" else {"code": cls.inputs["code"]}

    def forward(self, code: Float[Tensor, "*batch latent"], dictionary: Float[Tensor, "latent model"] | None = None) -> Out:
        absolute = sizes_of(code).sum(-1).mean()
        squares = wide(code).square().sum(-1).mean() if dictionary is None else dictionary.square().mean(-1).sum()
        return Out(loss=(1 - self.square_share) * absolute + self.square_share * squares)
