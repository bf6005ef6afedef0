"""Steps with pseudo-gradients: forward exact, backward through a kernel of a stated width."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Kernel = Literal["identity", "rectangle", "triangle", "sigmoid", "gaussian"]
"""Shapes K(u) of pseudo-gradients; each but `identity` integrates to one."""


def kernel(u: Float[Tensor, "*shape"], shape: Kernel) -> Float[Tensor, "*shape"]:
    """Returns K(u): `identity` 1; `rectangle` 1[|u| < 1/2]; `triangle` max(0, 1 - |u|); `sigmoid` s(u)(1 - s(u)); `gaussian` N(0, 1)."""
    if shape == "identity":
        return torch.ones_like(u)
    if shape == "rectangle":
        return (u.abs() < 0.5).to(u.dtype)
    if shape == "triangle":
        return (1 - u.abs()).clamp(min=0)
    if shape == "sigmoid":
        return torch.sigmoid(u) * torch.sigmoid(-u)
    return torch.exp(-0.5 * u * u) / (2 * torch.pi) ** 0.5


def pass_gradient(value: Float[Tensor, "*value"], slope: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns zeros whose gradient with respect to `value`, broadcast to the shape of `slope`, is `slope` (a constant).

    Adding it to a result gives that result a pseudo-gradient; detach arithmetic needs no rule of its own under `vmap`.
    """
    return slope.detach() * (value - value.detach())
