"""ProLU gate."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._kernels import pass_gradient
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class ProLU(Gate):
    """Keeps a pre-activation `m` unchanged where both `m` and `m + b` are positive: `f = m * 1[m > 0] * 1[m + b > 0]`.

    The bias `b` is the gate's own and only decides; it never shifts the value. Give it an encoder without a bias
    (`{kind: linear_encoder, bias: false}`), else `m` is shifted before it comes here. Forward it is a JumpReLU with threshold max(-b, 0).

    Gradient: with upstream `g` and the gate `G = 1[m > 0] * 1[m + b > 0]`: `relu` gives `dm = g G`, `db = g G`, as if the bias were added;
    `ste` puts the step's own value for its derivative: `dm = g G (1 + m)`, `db = g G m`, which depends on the units of `m`.
    """

    class Spec(StepSpec):
        kind: Literal["prolu"] = "prolu"
        gradient: Literal["ste", "relu"] = Field("ste", description="Pseudo-gradient of the step: scaled by m, or as a ReLU's.")

    paper = Paper(
        title="ProLU: a nonlinearity for sparse autoencoders",
        url="https://www.alignmentforum.org/posts/HEpufTdakGTTKgoYF/prolu-a-nonlinearity-for-sparse-autoencoders",
        where="definitions of ProLU_ReLU and ProLU_STE",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.scaled = spec.gradient == "ste"
        self.parameter("bias", ("latent",), {"latent": sizes.latent})

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        on = ((pre > 0) & (pre + self.bias > 0)).to(pre.dtype)
        slope = on * pre if self.scaled else on
        code = pre * on + pass_gradient(self.bias, slope)
        return Out(code=code + pass_gradient(pre, slope) if self.scaled else code)
