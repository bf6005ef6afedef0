"""Steps with pseudo-gradients: forward exact, backward through a kernel of a stated width."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Kernel = Literal[
    "identity",
    "heaviside",
    "rectangle",
    "triangle",
    "sigmoid",
    "gaussian",
    "epanechnikov",
    "quartic",
    "raised_cosine",
    "cauchy",
    "silverman",
]
"""Shapes K(u) of pseudo-gradients; each but `identity` and `heaviside` integrates to one, so that it estimates a density."""


def kernel(u: Float[Tensor, "*shape"], shape: Kernel) -> Float[Tensor, "*shape"]:
    """Returns K(u).

    Not densities: `identity` 1; `heaviside` 1[u > 0], the slope of a ReLU. Zero outside a window: `rectangle` 1[|u| < 1/2];
    `triangle` max(0, 1 - |u|); and for |u| < 1 `epanechnikov` 3/4 (1 - u^2), `quartic` 15/16 (1 - u^2)^2,
    `raised_cosine` (1 + cos(pi u)) / 2. With tails: `sigmoid` s(u)(1 - s(u)); `gaussian` N(0, 1); `cauchy` 1 / (pi (1 + u^2));
    `silverman` 1/2 exp(-|u| / sqrt 2) sin(|u| / sqrt 2 + pi/4), of order four and a little negative far out.
    """
    match shape:
        case "identity":
            return torch.ones_like(u)
        case "heaviside":
            return (u > 0).to(u.dtype)
        case "rectangle":
            return (u.abs() < 0.5).to(u.dtype)
        case "triangle":
            return (1 - u.abs()).clamp(min=0)
        case "sigmoid":
            return torch.sigmoid(u) * torch.sigmoid(-u)
        case "gaussian":
            return torch.exp(-0.5 * u * u) / (2 * torch.pi) ** 0.5
        case "epanechnikov":
            return 0.75 * (1 - u * u).clamp(min=0)
        case "quartic":
            return 0.9375 * (1 - u * u).clamp(min=0).square()
        case "raised_cosine":
            return 0.5 + 0.5 * torch.cos(torch.pi * u.clamp(-1, 1))
        case "cauchy":
            return 1 / (torch.pi * (1 + u * u))
        case "silverman":
            v = u.abs() / 2**0.5
            return 0.5 * torch.exp(-v) * torch.sin(v + torch.pi / 4)


def pass_gradient(value: Float[Tensor, "*value"], slope: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns zeros whose gradient with respect to `value`, broadcast to the shape of `slope`, is `slope` (a constant).

    Adding it to a result gives that result a pseudo-gradient; detach arithmetic needs no rule of its own under `vmap`.
    """
    return slope.detach() * (value - value.detach())
