"""GroupMax gate."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Info, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper, StepSpec


class GroupMax(Gate):
    """Splits the latents into `k` equal groups of neighbours and keeps the largest pre-activation of each, clipped at zero.

    Latents of one group exclude each other. The latents must divide into `k` groups.

    Gradient: flows through the kept entries only.
    """

    class Spec(StepSpec):
        kind: Literal["groupmax"] = "groupmax"
        k: int = Field(32, ge=1, description="Groups, of which each keeps one latent per row (count); must divide the latents.")

    paper = Paper(
        title="Sparsify: train k-sparse autoencoders and transcoders on the activations of language models",
        url="https://github.com/EleutherAI/sparsify",
        where="the groupmax activation",
    )
    sparsity = l0_setting = "k"
    no_threshold = "the largest of each group may be of any size, so no threshold tells it from the others"

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        _check(spec, sizes)
        self.groups = spec.k  # decides shapes, so members of a stacked group share it

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        _check(spec, sizes)
        return super().produces(spec, sizes)

    @classmethod
    def l0_range(cls, spec: Spec) -> tuple[float, float]:
        """Returns the least and the most latents a row may have on, as far as settings alone tell."""
        return (float(spec.k), float(spec.k))

    def forward(self, pre: Float[Tensor, "batch latent"]) -> Out:
        groups = pre.relu().unflatten(-1, (self.groups, -1))
        best = groups.max(-1, keepdim=True)
        return Out(code=torch.zeros_like(groups).scatter(-1, best.indices, best.values).flatten(-2))


def _check(spec: GroupMax.Spec, sizes: Sizes) -> None:
    """Refuses a count of groups that does not divide the latents.

    Raises:
        AssemblyError: naming both numbers.
    """
    if sizes.latent % spec.k:
        raise AssemblyError([f"k must divide the latents into equal groups; k={spec.k!r} does not divide {sizes.latent} latents"])
