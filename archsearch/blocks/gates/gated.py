"""Gated encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._kernels import Kernel, kernel, pass_gradient
from archsearch.blocks._sums import wide
from archsearch.blocks.gates._two_paths import TwoPaths
from archsearch.blocks.signals import SPACE, Info, Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec, refuse_unused


class Gated(TwoPaths):
    """Separates which latents are on from how strongly: `f = 1[pi > 0] * m`.

    `pi = gate + b_gate`; `m = relu(exp(r) * gate + b_mag)` with one encoder, or `m = relu(magnitude + b_mag)` with an encoder of its own
    wired to `magnitude`. The sparsity penalty belongs on the output `gate_code = relu(pi)`, or with `straight_through` on `active`.

    Gradient: `training` says how the gate learns.

    - `frozen_decoder` (the paper): the step has no gradient; an auxiliary task rebuilds the target from `gate_code` through the detached
      dictionary and bias (output `auxiliary`, added to the loss with `auxiliary_weight`). With a plain `l1` on `gate_code` and a decoder of
      unit norm this is what dictionary_learning's GatedSAETrainer minimises.
    - `unfrozen_decoder`: the same task, with gradients into dictionary and bias too. With a free decoder and `norm: dictionary` on the `l1`
      of `gate_code` this is what SAELens' GatedTrainingSAE minimises. The authors advise to freeze the dictionary in both terms or in
      neither; the frozen one of that pair wires `{signal: decoder.dictionary, detach: true}` to the penalty.
    - `straight_through`: no auxiliary task; the step has the pseudo-gradient `K(pi / bandwidth) / bandwidth`, in the code and in `active`,
      the step itself, whose sum an L0 penalty counts: it reaches encoder and `b_gate` alike, so no L1 is needed.
    """

    class Spec(StepSpec):
        kind: Literal["gated"] = "gated"
        training: Literal["frozen_decoder", "unfrozen_decoder", "straight_through"] = Field(
            "frozen_decoder", description="How the gate gets its gradient."
        )
        auxiliary_weight: float = Field(1.0, ge=0, description="Coefficient of the auxiliary task; straight_through has none.")
        kernel: Kernel = Field("rectangle", description="Shape of the pseudo-gradient; acts with straight_through only.")
        bandwidth: float = Field(1.0, gt=0, description="Width of the pseudo-gradient, in units of pi; straight_through only.")

        @model_validator(mode="after")
        def _acting(self) -> Gated.Spec:
            straight = self.training == "straight_through"
            return refuse_unused(self, ("auxiliary_weight",) if straight else ("kernel", "bandwidth"), f"training: {self.training}")

    paper = Paper(
        title="Improving dictionary learning with gated sparse autoencoders", url="https://arxiv.org/abs/2404.16014", where="section 3.2"
    )
    inputs = {
        **TwoPaths.inputs,
        "target": Port(SPACE, default="target"),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary", detach=True),
        "bias": Port((Signal.BIAS,), default="dictionary", detach=True, optional=True),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(sizes)
        self.straight = spec.training == "straight_through"
        self.shape: Kernel = spec.kernel
        self.setting("auxiliary_weight", spec.auxiliary_weight)
        self.setting("bandwidth", spec.bandwidth)

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        if spec.training == "straight_through":
            return TwoPaths.inputs
        frozen = spec.training == "frozen_decoder"
        return {name: replace(port, detach=port.detach and frozen) for name, port in cls.inputs.items()}

    @classmethod
    def gives(cls, spec: Spec) -> dict[str, Signal]:
        straight = spec.training == "straight_through"  # else the step has no gradient: counting it would train nothing
        return {name: type for name, type in cls.outputs.items() if straight or type is not Signal.ACTIVE}

    @classmethod
    def produces(cls, spec: Spec, sizes: Sizes) -> dict[str, Info]:
        auxiliary = {} if spec.training == "straight_through" else {"auxiliary": Info(Signal.LOSS, 1)}
        return {**super().produces(spec, sizes), **auxiliary}

    def forward(
        self,
        gate: Float[Tensor, "batch latent"],
        magnitude: Float[Tensor, "batch latent"] | None = None,
        target: Float[Tensor, "batch model"] | None = None,
        dictionary: Float[Tensor, "latent model"] | None = None,
        bias: Float[Tensor, " model"] | None = None,
    ) -> Out:
        pi, m = self.paths(gate, magnitude)
        on, gate_code = (pi > 0).to(pi.dtype), pi.relu()
        if self.straight:
            on = on + pass_gradient(pi, kernel(pi / self.bandwidth, self.shape) / self.bandwidth)
            return Out(code=on * m, gate_code=gate_code, active=on)
        assert target is not None and dictionary is not None
        rebuilt = gate_code @ dictionary  # equation 8, third term; whether the dictionary comes detached is its port's say
        error = target - (rebuilt if bias is None else rebuilt + bias)
        return Out(code=on * m, gate_code=gate_code, auxiliary=self.auxiliary_weight * wide(error).square().sum(-1).mean())

    def infer(self, gate: Float[Tensor, "batch latent"], magnitude: Float[Tensor, "batch latent"] | None = None, **_: Tensor) -> Out:
        out = super().infer(gate, magnitude)
        return out if self.straight else Out(code=out["code"], gate_code=out["gate_code"])
