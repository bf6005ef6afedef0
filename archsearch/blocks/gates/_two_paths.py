"""What gated encoders share: one path decides, the other speaks."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Port, Signal, Sizes


class TwoPaths(Gate, abstract=True):
    """A gate with two paths: `pi = gate + b_gate` decides, `m = relu(exp(r_mag) * gate + b_mag)` says how strongly.

    With an encoder of its own wired to `magnitude`, `m = relu(magnitude + b_mag)`. The code is a gate made from `pi` times `m`; kinds
    differ in how that gate is made in training. At inference it is the step `1[pi > 0]` unless a kind says otherwise. `gate_code` is
    `relu(pi)`; `active` is what penalties count; `threshold` is `-b_gate`, what the gate's pre-activation must exceed.
    """

    inputs = {"gate": Port((Signal.PRE,)), "magnitude": Port((Signal.PRE,), default="none", optional=True)}
    outputs = {"code": Signal.CODE, "gate_code": Signal.CODE, "active": Signal.ACTIVE}
    exposes = {"threshold": Signal.THRESHOLD}
    no_threshold = "it scales and shifts pre-activations (`exp(r_mag) h + b_mag`), and a threshold passes them on as they are"

    def __init__(self, sizes: Sizes):
        super().__init__()
        latent = {"latent": sizes.latent}
        self.parameter("b_gate", ("latent",), latent)
        self.parameter("b_mag", ("latent",), latent)
        if not sizes.wired("magnitude"):
            self.parameter("r_mag", ("latent",), latent)

    @property
    def threshold(self) -> Float[Tensor, " latent"]:
        """What the gate's pre-activation must exceed for its latent to be on."""
        return -self.b_gate

    def paths(
        self, gate: Float[Tensor, "batch latent"], magnitude: Float[Tensor, "batch latent"] | None
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Returns `pi` and `m`."""
        strength = gate * self.r_mag.exp() if magnitude is None else magnitude
        return gate + self.b_gate, (strength + self.b_mag).relu()

    def infer(self, gate: Float[Tensor, "batch latent"], magnitude: Float[Tensor, "batch latent"] | None = None, **_: Tensor) -> Out:
        pi, m = self.paths(gate, magnitude)
        on = (pi > 0).to(pi.dtype)
        return Out(code=on * m, gate_code=pi.relu(), active=on)
