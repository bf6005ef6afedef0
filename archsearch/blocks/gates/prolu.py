"""ProLU gate."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._kernels import pass_gradient
from archsearch.blocks.gates._base import Folded, Gate, above, jumping
from archsearch.blocks.signals import Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec, refuse_unused

Surrogate = Literal["heaviside", "unit_window", "signed_ramp", "ramp", "identity"]
"""Stand-ins `psi(u)` for the derivative of the step."""


class ProLU(Gate):
    """Keeps a pre-activation `m` unchanged where both `m` and `m + b` are positive: `f = m * 1[m > 0] * 1[m + b > 0]`.

    The bias `b` is the gate's own and only decides; it never shifts the value. Give it an encoder without a bias
    (`{kind: linear_encoder, bias: false}`), else `m` is shifted before it comes here. Forward it is a JumpReLU with threshold max(-b, 0),
    the `threshold` other blocks may read.

    Gradient: with upstream `g` and the gate `G = 1[m > 0] * 1[m + b > 0]`:

    - `relu`: `dm = g G`, `db = g G`, as if the bias were added.
    - `ste`: the step's own value stands for its derivative: `dm = g G (1 + m)`, `db = g G m`, which depends on the units of `m`.
    - `mixed`: between the two, `db = g G lerp(1, m, b_ste)`, `dm = g G lerp(1, m_gg + m, m_ste)`; `relu` is `b_ste = m_ste = 0`, `ste` is
      `b_ste = m_ste = m_gg = 1`.
    - `surrogate`: `f = m H(m) H(m + b)` by the product rule, both steps with `H'(u) = psi(u)`:
      `dm = g (G + m H(m + b) psi(m) + m H(m) psi(m + b))`, `db = g m H(m) psi(m + b)`. `psi(u)` is `heaviside` 1[u > 0], `unit_window`
      1[0 < u < 1], `signed_ramp` clip(u, -1, 1), `ramp` clip(u, 0, 1) or `identity` 1. Unlike `ste`, whose step at zero is a plain ReLU's,
      `heaviside` gives `dm` a second `g G m`.

    Differs from the paper: `mixed` and `surrogate` are settings of the author's later code (saeco).
    """

    class Spec(StepSpec):
        kind: Literal["prolu"] = "prolu"
        gradient: Literal["ste", "relu", "mixed", "surrogate"] = Field("ste", description="Pseudo-gradient of the step.")
        b_ste: float = Field(0.5, ge=0, le=1, description="Share of `ste` in the bias's gradient (0 to 1); acts with mixed only.")
        m_ste: float = Field(0.5, ge=0, le=1, description="Share of `ste` in the pre-activation's gradient (0 to 1); mixed only.")
        m_gg: float = Field(1.0, ge=0, allow_inf_nan=False, description="Weight of the plain gradient within the `ste` share; mixed only.")
        surrogate: Surrogate = Field("heaviside", description="What stands for the derivative of the step; acts with surrogate only.")

        @model_validator(mode="after")
        def _acting(self) -> ProLU.Spec:
            mixed = ("b_ste", "m_ste", "m_gg")
            if self.gradient == "mixed":
                refuse_unused(self, ("m_gg",) if self.m_ste == 0 else (), "m_ste: 0")
            unused = (*(() if self.gradient == "mixed" else mixed), *(() if self.gradient == "surrogate" else ("surrogate",)))
            return refuse_unused(self, unused, f"gradient: {self.gradient}")

    paper = Paper(
        title="ProLU: a nonlinearity for sparse autoencoders",
        url="https://www.alignmentforum.org/posts/HEpufTdakGTTKgoYF/prolu-a-nonlinearity-for-sparse-autoencoders",
        where="definitions of ProLU_ReLU and ProLU_STE",
    )
    exposes = {"threshold": Signal.THRESHOLD}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.gradient = spec.gradient
        self.surrogate: Surrogate = spec.surrogate
        for name in ("b_ste", "m_ste", "m_gg"):
            self.setting(name, float(getattr(spec, name)))
        self.parameter("bias", ("latent",), {"latent": sizes.latent})

    @property
    def threshold(self) -> Float[Tensor, " latent"]:
        """What the pre-activation must exceed for its latent to be on."""
        return (-self.bias).relu()

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        above, kept = (pre > 0).to(pre.dtype), (pre + self.bias > 0).to(pre.dtype)
        on = above * kept
        d_bias, d_pre = self._slopes(pre, above, kept)
        return Out(code=pre.detach() * on + pass_gradient(self.bias, d_bias) + pass_gradient(pre, d_pre))

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        # Sums of floats have the right sign: m + b > 0 is m > -b.
        return jumping(torch.maximum(self.threshold, above(cutoff)))

    def _slopes(self, m: Tensor, above: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `df/db` and `df/dm`, `g` left out."""
        on = above * kept
        if self.gradient == "relu":
            return on, on
        if self.gradient == "ste":
            return on * m, on * (1 + m)
        if self.gradient == "mixed":
            return on * (1 + self.b_ste * (m - 1)), on * (1 + self.m_ste * (self.m_gg + m - 1))
        by_sum = m * above * _psi(m + self.bias, self.surrogate)
        return by_sum, on + by_sum + m * kept * _psi(m, self.surrogate)


def _psi(u: Tensor, surrogate: Surrogate) -> Tensor:
    match surrogate:
        case "heaviside":
            return (u > 0).to(u.dtype)
        case "unit_window":
            return ((u > 0) & (u < 1)).to(u.dtype)
        case "signed_ramp":
            return u.clamp(-1, 1)
        case "ramp":
            return u.clamp(0, 1)
        case "identity":
            return torch.ones_like(u)
