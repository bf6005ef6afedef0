"""Gated encoder."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._kernels import Kernel, kernel, pass_gradient
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import SPACE, Info, Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec, refuse_unused


class Gated(Gate):
    """Separates which latents are on from how strongly: `f = 1[pi > 0] * relu(m)`.

    `pi = gate + b_gate`; `m = exp(r) * gate + b_mag` with one encoder, or `m = magnitude + b_mag` with an encoder of its own wired to
    `magnitude`. The sparsity penalty belongs on the output `gate_code = relu(pi)`.

    Gradient: `training` says how the gate learns. `frozen_decoder` (the paper): the step has no gradient; an auxiliary task rebuilds the
    target from `gate_code` through the detached dictionary and bias (output `auxiliary`, added to the loss with `auxiliary_weight`).
    `straight_through`: no auxiliary task; the step has the pseudo-gradient `K(pi / bandwidth) / bandwidth`.
    """

    class Spec(StepSpec):
        kind: Literal["gated"] = "gated"
        training: Literal["frozen_decoder", "straight_through"] = Field("frozen_decoder", description="How the gate gets its gradient.")
        auxiliary_weight: float = Field(1.0, ge=0, description="Coefficient of the auxiliary task; acts with frozen_decoder only.")
        kernel: Kernel = Field("rectangle", description="Shape of the pseudo-gradient; acts with straight_through only.")
        bandwidth: float = Field(1.0, gt=0, description="Width of the pseudo-gradient, in units of pi; straight_through only.")

        @model_validator(mode="after")
        def _acting(self) -> Gated.Spec:
            frozen = self.training == "frozen_decoder"
            return refuse_unused(self, ("kernel", "bandwidth") if frozen else ("auxiliary_weight",), f"training: {self.training}")

    paper = Paper(
        title="Improving dictionary learning with gated sparse autoencoders", url="https://arxiv.org/abs/2404.16014", where="section 3.2"
    )
    inputs = {
        "gate": Port((Signal.PRE,)),
        "magnitude": Port((Signal.PRE,), default="none", optional=True),
        "target": Port(SPACE, default="target"),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary", detach=True),
        "bias": Port((Signal.BIAS,), default="dictionary", detach=True, optional=True),
    }
    outputs = {"code": Signal.CODE, "gate_code": Signal.CODE}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        latent = {"latent": sizes.latent}
        self.auxiliary_task = spec.training == "frozen_decoder"
        self.shape: Kernel = spec.kernel
        self.setting("auxiliary_weight", spec.auxiliary_weight)
        self.setting("bandwidth", spec.bandwidth)
        self.parameter("b_gate", ("latent",), latent)
        self.parameter("b_mag", ("latent",), latent)
        if not sizes.wired("magnitude"):
            self.parameter("r_mag", ("latent",), latent)

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        if spec.training == "frozen_decoder":
            return cls.inputs
        return {port: cls.inputs[port] for port in ("gate", "magnitude")}

    @classmethod
    def produces(cls, spec: Spec, sizes: Sizes) -> dict[str, Info]:
        found = super().produces(spec, sizes)
        if spec.training == "frozen_decoder":
            found["auxiliary"] = Info(Signal.LOSS, 1)
        return found

    def forward(
        self,
        gate: Float[Tensor, "batch latent"],
        magnitude: Float[Tensor, "batch latent"] | None = None,
        target: Float[Tensor, "batch model"] | None = None,
        dictionary: Float[Tensor, "latent model"] | None = None,
        bias: Float[Tensor, " model"] | None = None,
    ) -> Out:
        pi = gate + self.b_gate
        strength = (gate * self.r_mag.exp() if magnitude is None else magnitude) + self.b_mag
        on = (pi > 0).to(pi.dtype)
        if not self.auxiliary_task:
            on = on + pass_gradient(pi, kernel(pi / self.bandwidth, self.shape) / self.bandwidth)
        gate_code = pi.relu()
        out = Out(code=on * strength.relu(), gate_code=gate_code)
        if self.auxiliary_task and target is not None and dictionary is not None:
            rebuilt = gate_code @ dictionary  # equation 8, third term; the dictionary comes detached by its port
            error = target - (rebuilt if bias is None else rebuilt + bias)
            out["auxiliary"] = self.auxiliary_weight * error.square().sum(-1).mean()
        return out

    def infer(self, gate: Float[Tensor, "batch latent"], magnitude: Float[Tensor, "batch latent"] | None = None, **_: Tensor) -> Out:
        strength = (gate * self.r_mag.exp() if magnitude is None else magnitude) + self.b_mag
        pi = gate + self.b_gate
        return Out(code=(pi > 0) * strength.relu(), gate_code=pi.relu())
