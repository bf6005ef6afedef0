"""Absorption, where the truth is planted: parents whose latent is silent because a child's latent speaks for both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FOUND = 0.5
"""A parent whose latent's row has a smaller |cosine| with the parent's direction has not been found, and is not judged."""

CARRIES = 0.25
"""What a child's latent adds along the parent's direction, as a share of what it adds along the child's, from which on it carries both.

A row that holds exactly the two as they come has 1, a row of the child alone has 0.
"""


@dataclass(frozen=True)
class Absorption:
    """How far children have absorbed their parents.

    Rows are those in which a parent and at least one of its children are on. The row of a child's latent is written, by least squares, as
    `a * parent + b * child` (true directions times the features' mean strength): the latent carries its parent in a row where it is on and
    its code times `b` is positive and times `a` at least `CARRIES` of that.

    - `absorption` (lower is better; 0 to 1): share of those rows in which the parent's latent is off and the latent of a child that is on
      carries the parent.
    - `absorbed_frac` (lower is better; 0 to 1): mean over those rows of `A / (A + M)`; `A` is what the latents that carry the parent add
      along its direction (`a` times the code, summed), `M` what the parent's own latent adds (0 where that is negative); 0 where none
      carries it.
    - `parents_found` (higher is better; 0 to 1): share of the parents that are judged: those with a latent whose row has a |cosine| of
      `FOUND` or more with the parent.

    Shares are taken for each parent found and averaged over parents, each counting the same; NaN where there is none to judge.

    Source: absorption fraction as in SAEBench (https://arxiv.org/abs/2503.09532) and "A is for Absorption"
    (https://arxiv.org/abs/2409.14507); they know parents by a probe and children not at all, here both are planted.
    """

    absorption: float
    absorbed_frac: float
    parents_found: float


class FamilyCounts:
    """Adds up absorption over batches.

    Args:
        dictionary: rows of the SAE, in the units the features are in.
        features: true directions, each as long as the feature is strong on average.
        tree: index of every feature's parent, -1 for none.
        latent_of: latent of every feature, -1 for none.
    """

    def __init__(
        self,
        dictionary: Float[Tensor, "latent model"],
        features: Float[Tensor, "feature model"],
        tree: Int[Tensor, " feature"],
        latent_of: Int[Tensor, " feature"],
    ):
        parents = tree[tree >= 0].unique()
        own = latent_of[parents]
        near = torch.nn.functional.cosine_similarity(dictionary[own], features[parents]).abs()
        self.num_parents = len(parents)
        self.parents = parents[(own >= 0) & (near >= FOUND)]
        self.own = latent_of[self.parents]
        self.along = _share(dictionary[self.own], features[self.parents])
        kin = (tree >= 0).nonzero().flatten()
        self.families = [kin[tree[kin] == parent] for parent in self.parents]
        self.carry = [_parts(dictionary, features, int(p), f, latent_of[f]) for p, f in zip(self.parents, self.families, strict=True)]
        self.child_latents = [latent_of[family].clamp(min=0) for family in self.families]
        self.rows, self.absorbed, self.frac = (torch.zeros(len(self.parents), dtype=torch.float64) for _ in range(3))

    def add(self, code: Float[Tensor, "batch latent"], truth: Bool[Tensor, "batch feature"]) -> None:
        """Adds a batch of codes, and of what was truly on."""
        for i, (parent, family) in enumerate(zip(self.parents, self.families, strict=True)):
            on = truth[:, family]
            rows = truth[:, parent] & on.any(1)
            child = (code[:, self.child_latents[i]] * on)[rows].double()
            main = code[rows, self.own[i]].double()
            to_parent, to_child = child * self.carry[i][0], child * self.carry[i][1]
            carries = (to_child > 0) & (to_parent >= CARRIES * to_child)
            gained = (to_parent * carries).sum(1)
            kept = (main * self.along[i]).clamp(min=0)
            self.rows[i] += len(main)
            self.absorbed[i] += ((main == 0) & carries.any(1)).sum()
            self.frac[i] += (gained / (gained + kept).where(gained > 0, 1.0)).sum()

    def measured(self) -> Absorption:
        """Returns the shares over all batches so far."""
        seen = self.rows > 0

        def mean(total: Tensor) -> float:
            return float((total[seen] / self.rows[seen]).mean())

        found = len(self.parents) / self.num_parents if self.num_parents else float("nan")
        return Absorption(mean(self.absorbed), mean(self.frac), found)


def _share(rows: Tensor, features: Tensor) -> Float[Tensor, " pair"]:
    """Returns what each row holds of its feature: the coefficient of least squares."""
    return (rows * features).sum(-1) / features.square().sum(-1)


def _parts(dictionary: Tensor, features: Tensor, parent: int, family: Tensor, latents: Tensor) -> Float[Tensor, "two child"]:
    """Returns what the row of each child's latent holds of parent and child; zeros for a child without a latent."""
    rows = dictionary[latents.clamp(min=0)] * (latents >= 0)[:, None]
    pair = torch.stack([features[parent].expand(len(family), -1), features[family]], -1)  # [child, model, 2]
    return torch.linalg.lstsq(pair, rows[..., None]).solution.squeeze(-1).T
