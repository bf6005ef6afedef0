"""Lp penalty whose exponent falls over the run."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.losses._penalty import Penalty, PenaltySpec, Rows, power
from archsearch.blocks.signals import Given, Sizes
from archsearch.spec.block import Field, Paper


class LpAnnealed(Penalty):
    """Lp penalty whose exponent falls from `p_start` to `p_end` in stairs (p-annealing): `alpha P_p(f)`.

    `P_p` is `mean_b sum_i |f_i|^p` with `power: inner` (Lp^p), `mean_b (sum_i |f_i|^p)^(1/p)` with `outer` (Lp). There are `updates`
    points, evenly from `start_frac` to `end_frac` of the run, and as many exponents, evenly from `p_start` to `p_end`: the step whose
    progress reaches a point is the last one with the old exponent. The first point changes nothing yet: it starts the queue of the last
    `memory` pairs `(P_p, P_next)`, both of the same codes. At every later one alpha is multiplied by `mean P_p / mean P_next` over that
    queue, so that the penalty goes on at the value it had. With `end_frac` 1 the last point lies past the last step, and the run ends
    one exponent short of `p_end`.

    State: `changes`, points passed; `alpha`; `queue`, the pairs, zeros where there is none yet. It is not emptied at a change: points
    nearer than `memory` steps mix pairs of older exponents in. One step passes one point: where several fall into it, the others follow
    in the next steps.

    Gradient: as `lp`'s, zero at f = 0; none through alpha.

    Differs from the paper: the queue and the points are dictionary_learning's, whose points are cut to whole steps. Its `p_end` of 0, where
    every entry counts 1 and nothing has a gradient, is refused.
    """

    class Spec(PenaltySpec):
        kind: Literal["lp_annealed"] = "lp_annealed"
        power: Literal["inner", "outer"] = Field("inner", description="Sum of powers (Lp^p), or the norm of each row (Lp).")
        p_start: float = Field(1.0, gt=0, le=2, description="Exponent up to the first change (0 to 2).")
        p_end: float = Field(0.2, gt=0, le=2, description="Exponent after the last point (0 to 2).")
        start_frac: float = Field(0.04, ge=0, lt=1, description="Share of the run at the first point.")
        end_frac: float = Field(1.0, gt=0, le=1, description="Share of the run at the last point.")
        updates: int = Field(10, ge=2, description="Points, and exponents (count).")
        memory: int = Field(10, ge=1, description="Steps whose penalties a change is balanced over (count).")

        @model_validator(mode="after")
        def _in_order(self) -> LpAnnealed.Spec:
            if self.start_frac >= self.end_frac:
                raise ValueError(f"start_frac must be below end_frac; got {self.start_frac!r} and {self.end_frac!r}")
            return self

    paper = Paper(
        title="Measuring progress in dictionary learning for language model interpretability with board game models",
        url="https://arxiv.org/abs/2408.00113",
        where="section 4, p-annealing",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.outer = spec.power == "outer"
        for name in ("p_start", "p_end", "start_frac", "end_frac"):
            self.setting(name, float(getattr(spec, name)))
        self.setting("updates", spec.updates)
        self.state("changes", torch.zeros(()))
        self.state("alpha", torch.ones(()))
        self.state("queue", torch.zeros(spec.memory, 2))

    @classmethod
    def given(cls, spec: Spec) -> dict[str, Given]:
        return {"progress": Given.PROGRESS}

    @classmethod
    def settled_frac(cls, spec: Spec) -> float:
        return max(spec.end_frac, super().settled_frac(spec))

    def forward(
        self,
        code: Float[Tensor, "*batch latent"],
        dictionary: Rows | None = None,
        *,
        progress: Float[Tensor, ""],
    ) -> Out:
        size = self.sizes(code, dictionary)
        now = self._penalty(size, self._exponent(self.changes - 1))
        then = self._penalty(size.detach(), self._exponent(self.changes))
        started = self.changes >= 1
        pair = torch.stack([now.detach(), then]).to(self.queue.dtype)
        queue = torch.where(started, torch.cat([self.queue[1:], pair[None]]), self.queue)
        reached = (self.changes < self.updates) & (progress >= self._point())
        alpha = torch.where(reached & started, self.alpha * _ratio(queue), self.alpha)
        return Out(loss=self.alpha * now, changes=self.changes + reached, alpha=alpha, queue=queue)

    def infer(self, code: Float[Tensor, "*batch latent"], dictionary: Rows | None = None) -> Out:
        return Out(loss=self.alpha * self._penalty(self.sizes(code, dictionary), self._exponent(self.changes - 1)))

    def _exponent(self, number: Tensor) -> Tensor:
        """Returns the exponent of a number from 0 to `updates - 1`; numbers outside are taken to the nearest."""
        last = self.updates - 1
        return torch.lerp(self.p_start, self.p_end, number.clamp(min=0).minimum(last) / last)

    def _point(self) -> Tensor:
        """Returns the share of the run at the next point."""
        # Progress is a rounded quotient: a point that falls on a step must be reached in it.
        return torch.lerp(self.start_frac, self.end_frac, self.changes / (self.updates - 1)) - 1e-6

    def _penalty(self, size: Tensor, p: Tensor) -> Tensor:
        total = power(size, p).sum(-1)
        return (power(total, 1 / p) if self.outer else total).mean()


def _ratio(queue: Float[Tensor, "memory two"]) -> Tensor:
    """Returns the quotient of the columns' sums, 1 where there is nothing to compare."""
    old, new = queue.sum(0)
    return torch.where(new > 0, old / torch.where(new > 0, new, 1.0), 1.0)
