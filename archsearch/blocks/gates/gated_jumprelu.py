"""Gated encoder written as a JumpReLU."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._kernels import Kernel, kernel, pass_gradient
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class GatedJumpReLU(Gate):
    """Computes a gated encoder in its JumpReLU form: `f = z * 1[z > theta] * 1[z > 0]`, trained by the threshold's pseudo-gradients.

    With one encoder `s`, `rho = exp(r_mag)`: `z = rho s + b_mag`, `theta = b_mag - rho b_gate`, which is `gated` forward
    (`s + b_gate > 0` where `z > theta`). `active = 1[z > theta] * 1[z > 0]` is what `l0` counts. Where theta is below zero only `z > 0`
    cuts and `b_gate` has no say; after each step such a `b_gate` is lowered to where theta is zero, which leaves every code as it was.
    `threshold`, for other blocks, is in units of `s`.

    Gradient: `df/dz` is the step; `df/dtheta = -(theta / eps) K(u)` and `dactive/dtheta = -(1 / eps) K(u)` with `u = (z - theta) / eps`,
    as for a JumpReLU, and on through theta to `b_gate`, `b_mag` and `r_mag`. `to_input` adds the same terms with the opposite sign to
    `dz`; then a count no longer moves `b_mag`, on which it does not depend, and reaches the encoder.

    Differs from the paper: there is no auxiliary task and no L1; `b_gate` starts at `-threshold`.
    """

    class Spec(StepSpec):
        kind: Literal["gated_jumprelu"] = "gated_jumprelu"
        threshold: float = Field(0.1, ge=0, allow_inf_nan=False, description="Start of every threshold (in units of pre-activations).")
        bandwidth: float = Field(0.2, gt=0, allow_inf_nan=False, description="Width eps of the kernel (in units of z).")
        kernel: Literal[
            "rectangle", "triangle", "sigmoid", "gaussian", "epanechnikov", "quartic", "raised_cosine", "cauchy", "silverman"
        ] = Field("rectangle", description="Shape K of pseudo-gradients.")
        to_input: bool = Field(False, description="Let pseudo-gradients reach z too, and so the encoder.")

    paper = Paper(
        title="Improving dictionary learning with gated sparse autoencoders",
        url="https://arxiv.org/abs/2404.16014",
        where="appendix E: a gated encoder with tied weights is a JumpReLU; pseudo-gradients from arXiv 2407.14435, section 3",
    )
    outputs = {"code": Signal.CODE, "active": Signal.ACTIVE}
    exposes = {"threshold": Signal.THRESHOLD}
    no_threshold = "it scales and shifts pre-activations (`exp(r_mag) h + b_mag`), and a threshold passes them on as they are"

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        latent = {"latent": sizes.latent}
        self.shape: Kernel = spec.kernel
        self.to_input = spec.to_input
        self.setting("bandwidth", spec.bandwidth)
        self.parameter("b_gate", ("latent",), latent, fill=-float(spec.threshold))
        self.parameter("b_mag", ("latent",), latent)
        self.parameter("r_mag", ("latent",), latent)

    @property
    def threshold(self) -> Float[Tensor, " latent"]:
        """What the pre-activation must exceed for its latent to be on."""
        return torch.maximum(-self.b_gate, -self.b_mag * torch.exp(-self.r_mag))

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        rho = self.r_mag.exp()
        z, theta = pre * rho + self.b_mag, self.b_mag - rho * self.b_gate
        on = ((z > theta) & (z > 0)).to(z.dtype)
        step = kernel((z - theta) / self.bandwidth, self.shape) / self.bandwidth
        jump = theta.relu() * step  # below zero theta cuts nothing off: the code does not jump there
        code = z * on - pass_gradient(theta, jump)
        active = on - pass_gradient(theta, step)
        if self.to_input:
            code, active = code + pass_gradient(z, jump), active + pass_gradient(z, step)
        return Out(code=code, active=active)

    def renormalise(self, parameters: dict[str, Tensor]) -> None:
        if {"b_gate", "b_mag", "r_mag"} <= set(parameters):  # a frozen one is in none of them
            least = parameters["b_mag"] * torch.exp(-parameters["r_mag"])
            parameters["b_gate"].copy_(torch.minimum(parameters["b_gate"], least))
