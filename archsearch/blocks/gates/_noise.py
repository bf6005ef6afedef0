"""Gated encoders whose step is drawn in training, and their noise."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._two_paths import TwoPaths
from archsearch.blocks.signals import Given

EDGE = 1e-6
"""Uniform numbers are kept this far from 0 and 1, where the logit has no value; float32 still tells 1 - EDGE from 1."""


def logistic(uniform: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns logistic noise made from uniform numbers: `log u - log(1 - u)`, the difference of two Gumbel variables."""
    u = uniform.clamp(EDGE, 1 - EDGE)
    return u.log() - (1 - u).log()


class DrawnGate(TwoPaths, abstract=True):
    """A gated encoder that draws its gate from `pi` and logistic noise in training; `active` is the chance that a latent is on."""

    soft = True

    @classmethod
    def given(cls, spec: Any) -> dict[str, Given]:
        return {"uniform": Given.UNIFORM}

    def drawn(self, noisy: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """Returns the gate drawn from `noisy`, which is `pi` with its noise."""
        raise NotImplementedError  # abstract

    def chance(self, pi: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """Returns the chance that the gate is not zero."""
        raise NotImplementedError  # abstract

    def forward(
        self,
        gate: Float[Tensor, "batch latent"],
        magnitude: Float[Tensor, "batch latent"] | None = None,
        *,
        uniform: Float[Tensor, "batch latent"],
    ) -> Out:
        pi, m = self.paths(gate, magnitude)
        return Out(code=self.drawn(logistic(uniform) + pi) * m, gate_code=pi.relu(), active=self.chance(pi))
