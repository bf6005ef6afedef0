"""Kronecker encoder."""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks._kernels import pass_gradient
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Info, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper, StepSpec

FLAT = 1e-5
"""Under this value of a factor the slope of its root grows no more; the published code adds it under the root."""


class KroneckerEncoder(Encoder):
    """Makes every latent of a pair of factors that both must be on (KronSAE): `h_ij = sqrt(u_i v_j)` where `u_i > 0` and `v_j > 0`, else 0.

    The latents fall into `heads`, each with its own `base` factors `u = P x + b` and `n` extension factors `v = Q x + c`, of which it makes
    `base * n` latents: `latent = heads * base * n`, so `n` follows from the width. Latents are in the order of heads, then bases, then
    extensions. Only `heads * (base + n)` rows are projected on. Any gate may follow; pre-activations are never negative.

    Gradient: that of the formula, `dh / du = sqrt(v) / (2 sqrt(u))`, but with `u` in it held at 1e-5 below that, so that it stays finite as
    `u` goes to zero; likewise for `v`. A factor that is off gets none.

    Differs from the paper: its code takes the root of `u v + 1e-5`, so that pairs that are off leave 0.003 behind, which a gate may keep;
    and starts dictionary rows as the normalised sums `P_i + Q_j`, where here rows and factors start independent.
    """

    class Spec(StepSpec):
        kind: Literal["kronecker_encoder"] = "kronecker_encoder"
        heads: int = Field(64, ge=1, description="Independent groups of latents (count).")
        base: int = Field(2, ge=1, description="Base factors of a head (count); heads * base must divide the latents.")
        bias: bool = Field(True, description="Learn a bias per factor.")

    paper = Paper(
        title="Kronecker factorization improves efficiency and interpretability of sparse autoencoders",
        url="https://arxiv.org/abs/2505.22255",
        where="section 3, equations 2 to 4; appendix H",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.heads = spec.heads
        for name, each in (("base", spec.base), ("extension", _extensions(spec, sizes))):
            widths = {name: spec.heads * each, "model": sizes.model}
            self.parameter(f"{name}_weight", (name, "model"), widths)
            if spec.bias:
                self.parameter(f"{name}_bias", (name,), widths)
        self.biased = spec.bias

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        _extensions(spec, sizes)
        return super().produces(spec, sizes)

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * (sizes.model * spec.heads * (spec.base + _extensions(spec, sizes)) + sizes.latent)  # equation 7

    def forward(self, x: Float[Tensor, "batch model"]) -> Out:
        u, v = self._roots(x, "base"), self._roots(x, "extension")
        return Out(pre=(u.unsqueeze(-1) * v.unsqueeze(-2)).flatten(-3))  # equation 3: sqrt(u v) = sqrt(u) sqrt(v)

    def _roots(self, x: Float[Tensor, "batch model"], name: str) -> Float[Tensor, "batch head factor"]:
        """Returns the square roots of the factors, zero where they are off."""
        factor = functional.linear(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias") if self.biased else None)
        slope = 0.5 / factor.clamp(min=FLAT).sqrt() * (factor > 0)
        root = factor.detach().relu().sqrt() + pass_gradient(factor, slope)
        return root.unflatten(-1, (self.heads, -1))


def _extensions(spec: KroneckerEncoder.Spec, sizes: Sizes) -> int:
    """Returns the extension factors of a head.

    Raises:
        AssemblyError: heads and bases do not divide the latents, naming all three numbers.
    """
    if sizes.latent % (spec.heads * spec.base):
        given = f"heads={spec.heads!r} times base={spec.base!r} does not divide {sizes.latent} latents"
        raise AssemblyError([f"heads * base must divide the latents, so that every head makes as many; {given}"])
    return sizes.latent // (spec.heads * spec.base)
