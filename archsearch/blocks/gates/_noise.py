"""Noise of gates that are drawn in training."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

EDGE = 1e-6
"""Uniform numbers are kept this far from 0 and 1, where the logit has no value; float32 still tells 1 - EDGE from 1."""


def logistic(uniform: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns logistic noise made from uniform numbers: `log u - log(1 - u)`, the difference of two Gumbel variables."""
    u = uniform.clamp(EDGE, 1 - EDGE)
    return u.log() - (1 - u).log()
