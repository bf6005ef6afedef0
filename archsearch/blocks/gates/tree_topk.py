"""TopK gate over a tree of latents."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._ramps import KSpec, k_at
from archsearch.blocks.gates._counting import Counting
from archsearch.blocks.signals import Info, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper


class TreeTopK(Counting):
    """Keeps the largest parents of every row and, of each parent that is on, the largest child: H-SAE's mixture of small dictionaries.

    The latents are parents, then the `children` of the first parent, those of the second, and so on; a third generation of as many children
    of each child stands behind all of these. There are as many families as fit in the latents; those left over are parents without
    children. A child's value is its pre-activation, times `leak` where that is negative; it is zero where its parent is.

    `k` counts latents of all generations: of two, `ceil(k / 2)` parents and the best child of each but, for an odd `k`, the weakest parent.
    A child that is off, or not there, still takes up its place, so that rows may keep fewer. With `k_start` the count goes from `k_start`
    to `k` over the first `anneal_frac` of the run, rounded to whole latents.

    The parents are a prefix of the latents: `{kind: matryoshka, prefixes: [0.25]}` shows those of `children: 3` alone, to be judged by
    themselves.

    Gradient: flows through the kept entries only.

    Differs from the paper: `k` there counts parents; a pre-activation is kept from zero on, there from `1 / sqrt(d)`; encoders and decoders
    are any, there those of children pass through a few dimensions for each parent.
    """

    class Spec(KSpec):
        kind: Literal["tree_topk"] = "tree_topk"
        k: int = Field(32, ge=1, description="Latents kept per row, parents and children together (count).")
        children: int = Field(3, ge=1, description="Children of each parent (count).")
        generations: int = Field(2, ge=2, le=4, description="Parents, their children, and so on: how many of these there are (count).")
        leak: float = Field(
            0.0, ge=0, lt=1, description="Slope of a child's value below zero (0 to 1); 0: it is off there. Published: 0.01."
        )

    paper = Paper(
        title="Incorporating hierarchical semantics in sparse autoencoder architectures",
        url="https://arxiv.org/abs/2506.01197",
        where="the H-SAE architecture; mask_codes in github.com/muchanem/hierarchical-sparse-autoencoders",
    )
    no_threshold = "the child kept is the best of its siblings, of any size, and only under a parent that is on"

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.families, self.parents = _families(spec, sizes)
        self.brood, self.generations = spec.children, spec.generations
        self.setting("leak", spec.leak)

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        _families(spec, sizes)
        return super().produces(spec, sizes)

    def forward(self, pre: Float[Tensor, "batch latent"], progress: Float[Tensor, ""] | None = None) -> Out:
        best = pre[:, : self.parents].topk(min(-(-self.k_bound // self.generations), self.parents), dim=-1)
        value, index, start, size = best.values.relu(), best.indices, self.parents, self.families
        values, places = [value], [index]
        fertile, index = index < size, index.clamp(max=size - 1)
        for _ in range(self.generations - 1):
            size = size * self.brood
            families = pre[:, start : start + size].unflatten(-1, (-1, self.brood))
            child = families.gather(1, index.unsqueeze(-1).expand(-1, -1, self.brood)).max(-1)
            leaked = torch.where(child.values > 0, child.values, self.leak * child.values)
            value, index = torch.where(fertile & (value != 0), leaked, 0.0), index * self.brood + child.indices
            values.append(value)
            places.append(start + index)
            start = start + size
        # A parent, then its line, then the next parent: whatever the count is, a latent is kept only if its parent is.
        kept, where = torch.stack(values, -1).flatten(1), torch.stack(places, -1).flatten(1)
        kept = kept * (torch.arange(kept.shape[-1], device=pre.device) < k_at(self, progress).round())
        # Added, for children that there are not point at another's place, with zero.
        return Out(code=torch.zeros_like(pre).scatter_add(-1, where, kept))


def _families(spec: TreeTopK.Spec, sizes: Sizes) -> tuple[int, int]:
    """Returns how many families there are, and how many parents: theirs, and those without children.

    Raises:
        AssemblyError: the latents hold no family.
    """
    family = sum(spec.children**generation for generation in range(spec.generations))
    if sizes.latent < family:
        what = "the latents must hold at least one parent and all below it"
        asked = f"children={spec.children!r} in generations={spec.generations!r} take {family}"
        raise AssemblyError([f"{what}; {asked}, and there are {sizes.latent} latents: lower either"])
    families = sizes.latent // family
    return families, families + sizes.latent % family
