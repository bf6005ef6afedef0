"""Matryoshka levels of random sizes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.levels._prefixes import Prefixes, PrefixSpec, levels_of
from archsearch.blocks.signals import Given, Info, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper


class RandomMatryoshka(Prefixes):
    """Shows nested prefixes of the code whose sizes are drawn afresh every step; the whole code is the last level.

    The `prefixes` sizes are drawn from 1 to latents - 1 without repetition, in turn, size `m` with a chance proportional to

        `w_m = |m^power - (m - 1)^power|`, and `w_1 = 0` for a negative `power`.

    So `power: 1` likes all sizes alike; 0.5 likes short ones better, `P(size <= m)` growing like `sqrt(m)`; -0.5 likes very short ones
    (a Pareto law: `P(size > m)` falls like `1 / sqrt(m)`). The same sizes serve all rows of a step. At inference the sizes are equally
    spaced: the levels there are to look at, and the last, which the SAE's output is read from, is the whole code all the same.

    State: `usage`, the running mean `order` is taken from; with `order: index` none.

    Shapes: `code` [batch, latent] -> `code` [level, batch, latent].

    Differs from the paper: its code (`power: 0.5`, `order: energy`, `decay: 0.95`, ten prefixes, the whole code counted, which `prefixes`
    leaves out) moves the latents into the order of their use after every step; here masks move. `power: -0.5` is saev's, which draws ten
    in all and keeps the latents' own order.
    """

    class Spec(PrefixSpec):
        kind: Literal["random_matryoshka"] = "random_matryoshka"
        prefixes: int = Field(9, ge=1, description="Nested prefixes drawn each step, the whole code not counted (count).")
        power: float = Field(0.5, ge=-2, le=1, description="Power in the chance of a size, not zero: at 1 all are alike (no unit).")

        @model_validator(mode="after")
        def _some_power(self) -> RandomMatryoshka.Spec:
            if self.power == 0:
                raise ValueError("power must not be zero: no size would have a chance; use a small number of either sign")
            return self

    paper = Paper(
        title="Matryoshka sparse autoencoders",
        url="https://github.com/noanabeshima/matryoshka-saes",
        where="sae.py: sizes drawn at random, and the order of the latents",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        _check(spec, sizes)
        self.prefixes = spec.prefixes
        self.setting("power", spec.power)
        spaced = [round(level * sizes.latent / (spec.prefixes + 1)) for level in range(1, spec.prefixes + 2)]
        self.register_buffer("spaced", torch.tensor([0] * spec.bias_level + spaced), persistent=False)

    @classmethod
    def given(cls, spec: Any) -> dict[str, Given]:
        return {"uniform": Given.LATENT_UNIFORM}

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        _check(spec, sizes)
        return {"code": Info(Signal.CODE, sizes.latent, levels_of(spec, spec.prefixes))}

    def forward(
        self,
        code: Float[Tensor, "batch latent"],
        dictionary: Float[Tensor, "latent model"] | None = None,
        *,
        uniform: Float[Tensor, " latent"],
    ) -> Out:
        drawn = self._drawn(uniform)
        first = [torch.zeros_like(drawn[:1])] if self.bias_level else []
        counts = torch.cat([*first, drawn, torch.full_like(drawn[:1], code.shape[-1])])
        return Out(code=self.nested(code, counts), **self.used(code, dictionary))

    def infer(self, code: Float[Tensor, "batch latent"], dictionary: Float[Tensor, "latent model"] | None = None) -> Out:
        return Out(code=self.nested(code, self.spaced))

    def _drawn(self, uniform: Float[Tensor, " latent"]) -> Int[Tensor, " level"]:
        """Returns the sizes of the drawn prefixes, rising."""
        sizes = torch.arange(1, uniform.shape[0], dtype=uniform.dtype, device=uniform.device)
        likely = sizes**self.power * torch.expm1(self.power * torch.log1p(-1 / sizes)).abs()  # |m^power - (m - 1)^power|
        likely = torch.where((sizes == 1) & (self.power < 0), 0.0, likely)
        # A race: the first of exponential times with these rates is drawn with these chances, the next one of the rest, and so on.
        times = -torch.log(uniform[:-1]) / likely
        return (times.topk(self.prefixes, largest=False).indices + 1).sort().values


def _check(spec: RandomMatryoshka.Spec, sizes: Sizes) -> None:
    """Refuses more prefixes than there are sizes.

    Raises:
        AssemblyError: naming both.
    """
    if spec.prefixes >= sizes.latent:
        what = f"prefixes must be below the latents, the last level being the whole code; got {spec.prefixes} of {sizes.latent} latents"
        raise AssemblyError([what])
