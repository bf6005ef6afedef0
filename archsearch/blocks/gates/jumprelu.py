"""JumpReLU gate."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._kernels import Kernel, kernel, pass_gradient
from archsearch.blocks.gates._base import Folded, Gate, above, jumping
from archsearch.blocks.signals import Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec, refuse_unused


class JumpReLU(Gate):
    """Keeps pre-activations above a learned threshold, unchanged: `f = h * 1[h > theta]`; `active = 1[h > theta]` is what `l0` counts.

    Scale: where E|x|^2 = d and encoder rows start at norm 1, `h` starts with mean square 1, so `threshold` and `bandwidth` are in units of
    its standard deviation. A latent's threshold learns from the share of rows within half a bandwidth of it, `bandwidth` times the density
    there. Published values in these units run from 0.05 (Gemma Scope: its 0.001 times sqrt(d)) to 2 (Anthropic, January 2025),
    with thresholds that start at 0.1 or below; the default lies between. (Measured once, 1,000 steps on synthetic features, one seed:
    bandwidths of 0.05 to 1 and starting thresholds of 0.1 to 1 lie on about one front of L0 and FVU; wide kernels and high starts leave
    more dead latents.)

    With `parametrisation: theta` Adam moves a threshold by about the learning rate a step, whatever its size, and it is set back to zero
    when it falls below; with `log_theta` it moves by that share of itself, so one that starts small stays small for long.

    Gradient: `df/dh = 1[h > theta]`; `df/dtheta = -(theta / eps) K(u)`, `dactive/dtheta = -(1 / eps) K(u)` with `u = (h - theta) / eps`.
    For `log_theta` the chain rule multiplies both by theta; `log_gradient: literal` leaves that factor out, as the January 2025 equations
    are printed (and crosscode and BatchTopK's code compute). `to_input` adds the same terms with the opposite sign to `dh`. With
    `kernel_on: magnitude` the step reads what was gated, `u = (f - theta) / eps`, and the jump `relu(h)`: of the rows near the threshold
    only those above it move L0; a theta under half a rectangle's bandwidth feels every row that is off.

    It exposes `threshold`, theta as the chain rule sees it, to losses on pre-activations.

    Differs from the paper: `kernel_on: pre` and a threshold kept as itself are SAELens' choice; the paper's pseudo-code is
    `kernel_on: magnitude` with `log_theta`.
    """

    class Spec(StepSpec):
        kind: Literal["jumprelu"] = "jumprelu"
        threshold: float = Field(0.1, gt=0, allow_inf_nan=False, description="Start of every threshold (in units of pre-activations).")
        bandwidth: float = Field(0.2, gt=0, allow_inf_nan=False, description="Width eps of the kernel (in units of pre-activations).")
        kernel: Literal["rectangle", "triangle", "sigmoid", "gaussian"] = Field("rectangle", description="Shape K of pseudo-gradients.")
        parametrisation: Literal["theta", "log_theta"] = Field("theta", description="What the optimizer moves.")
        kernel_on: Literal["pre", "magnitude"] = Field("pre", description="What the kernel is centred on: full kernel, or its upper half.")
        to_input: bool = Field(False, description="Let pseudo-gradients reach the pre-activations too.")
        log_gradient: Literal["chain", "literal"] = Field(
            "chain", description="Take log_theta's pseudo-gradients by the chain rule, or without its factor theta; log_theta only."
        )

        @model_validator(mode="after")
        def _acting(self) -> JumpReLU.Spec:
            return refuse_unused(self, () if self.parametrisation == "log_theta" else ("log_gradient",), "parametrisation: theta")

    paper = Paper(
        title="Jumping ahead: improving reconstruction fidelity with JumpReLU sparse autoencoders",
        url="https://arxiv.org/abs/2407.14435",
        where="section 3, pseudo-derivatives; appendix, pseudo-code",
    )
    outputs = {"code": Signal.CODE, "active": Signal.ACTIVE}
    exposes = {"threshold": Signal.THRESHOLD}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.shape: Kernel = spec.kernel
        self.to_input, self.gated_kernel = spec.to_input, spec.kernel_on == "magnitude"
        self.setting("bandwidth", spec.bandwidth)
        self.log, self.literal = spec.parametrisation == "log_theta", spec.log_gradient == "literal"
        fill = math.log(spec.threshold) if self.log else spec.threshold
        self.parameter(spec.parametrisation, ("latent",), {"latent": sizes.latent}, fill=fill)

    @property
    def threshold(self) -> Float[Tensor, " latent"]:
        """Threshold of every latent, in units of pre-activations."""
        return self.log_theta.exp() if self.log else self.theta

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        theta = self.threshold
        if self.literal:
            theta = theta.detach() + pass_gradient(self.log_theta, torch.ones_like(theta))
        on = (pre > theta).to(pre.dtype)
        jump = self._slope(pre.relu() if self.gated_kernel else pre, theta)
        step = self._slope(pre * on, theta) if self.gated_kernel else jump
        code = pre * on - pass_gradient(theta, theta * jump)
        active = on - pass_gradient(theta, step)
        if self.to_input:
            code, active = code + pass_gradient(pre, theta * jump), active + pass_gradient(pre, step)
        return Out(code=code, active=active)

    def _slope(self, value: Tensor, theta: Tensor) -> Tensor:
        return kernel((value - theta) / self.bandwidth, self.shape) / self.bandwidth

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        return jumping(torch.maximum(self.threshold, above(cutoff)))

    def renormalise(self, parameters: dict[str, Tensor]) -> None:
        if not self.log:
            parameters["theta"].clamp_(min=0)
