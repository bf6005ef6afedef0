"""Steers penalties to a requested L0."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.controllers._base import Controller
from archsearch.errors import InvalidInput, Problem
from archsearch.spec.block import BlockSpec, Field

LIMIT = 5.0
"""Largest |sum / log 10|: a weight a hundred thousand times more or less decides nothing any more."""

FAR = 100.0
"""Strength (or one over it) from which the weight a run starts from is worth naming."""


class L0Controller(Controller):
    """Moves the strength of penalties until `l0` latents are on per row.

    `e = log(L0 / aim)`, cut to +-1, is the error of a running mean over the last `memory` batches, and
    `strength = exp(proportional * e + integral * sum e dt)` with `dt` a step's share of the run: a proportional-integral rule on a log
    scale. Weights within about a factor of 100 of what is needed are brought there in a run; from further away it takes longer.

    Over the first `approach_frac` of the run the aim falls from the first batch's L0 to `l0` on a log scale; a penalty that came down at
    once would kill latents for good (log penalty at L0 16 on the bundled model: 91% dead without, 69% with). An integral that outruns
    what it steers makes L0 swing: with 20 and a proportional part of 0.5, jumprelu asked for 8 ended at 9.8, with these defaults at 7.9.

    As the learning rate falls, penalties have less and less say, and L0 drifts (up by 8 to 14% at L0 64 with high rates). Both parts
    therefore grow as the rate falls below its highest so far, by at most `boost`.

    Batches are rows the SAE trains on, some seen before, and the gate as it is in training. At `check_frac` of the run the L0 at inference
    on calibrate rows is measured, and from there on the error is counted with the ratio found.

    Differs from published controllers (ProLU's author; Matryoshka SAEs by Nabeshima), which move a weight by a fixed factor a step in the
    direction of the error: those need thousands of steps to move a weight tenfold.
    """

    class Spec(BlockSpec):
        kind: Literal["l0_controller"] = "l0_controller"
        l0: float = Field(32, gt=0, description="Effective L0 to reach, on held-out rows (latents per row).")
        proportional: float = Field(1.0, ge=0, description="Log strength per unit of error now.")
        integral: float = Field(10.0, gt=0, description="Log strength gained over a whole run per unit of lasting error.")
        approach_frac: float = Field(0.1, ge=0, lt=1, description="Share of the run over which the aim falls from the first L0 to `l0`.")
        check_frac: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
            [0.5, 0.75, 0.9],
            description="Moments at which L0 is measured at inference on calibrate rows (shares of the run); none: steer by batches.",
        )
        boost: float = Field(5.0, ge=1, description="Most that both parts grow by as the learning rate falls (factor).")
        memory: int = Field(10, ge=1, description="Batches the running mean of L0 remembers (count).")

    paper = None
    sparsity = "l0"
    l0_setting = "l0"

    def __init__(self, spec: Spec):
        super().__init__()
        self.wanted, self.check_frac = spec.l0, tuple(spec.check_frac)
        for name in ("l0", "proportional", "integral", "approach_frac", "boost"):
            self.setting(name, float(getattr(spec, name)))
        self.setting("memory", spec.memory)
        self.state("strength", torch.ones(()))
        self.state("mean", torch.zeros(()))  # of L0, over the last batches
        self.state("first", torch.ones(()))  # L0 of the first batch
        self.state("offset", torch.zeros(()))  # log of L0 at inference on calibrate rows, less log of `mean`
        self.state("total", torch.zeros(()))
        self.state("before", torch.zeros(()))  # progress at the step before
        self.state("seen", torch.zeros(()))
        self.state("highest", torch.zeros(()))  # learning-rate multiplier so far

    def forward(self, l0: Float[Tensor, ""], progress: Float[Tensor, ""], rate: Float[Tensor, ""]) -> Out:
        l0, progress, rate = (value.to(self.mean.dtype) for value in (l0, progress, rate))
        highest = torch.maximum(self.highest, rate)
        gain = (highest / rate.clamp(min=1e-12)).clamp(min=1).minimum(self.boost)
        seen = self.seen + 1
        mean = self.mean + (l0 - self.mean) / torch.minimum(seen, self.memory.to(seen.dtype))
        first = torch.where(self.seen > 0, self.first, l0.clamp(min=1e-3))
        left = (1 - progress / self.approach_frac.clamp(min=1e-12)).clamp(min=0).where(self.approach_frac > 0, 0.0)
        aim = self.l0.log() + left * (first / self.l0).log()
        error = (mean.clamp(min=1e-3).log() + self.offset - aim).clamp(-1, 1)
        bound = LIMIT * math.log(10)
        total = (self.total + gain * self.integral * error * (progress - self.before)).clamp(-bound, bound)
        strength = (gain * self.proportional * error + total).exp()
        kept = {"offset": self.offset.clone(), "before": progress.clone()}
        return Out(strength=strength, mean=mean, first=first, total=total, seen=seen, highest=highest, **kept)

    @classmethod
    def settled_frac(cls, spec: Spec) -> float:
        return spec.approach_frac

    def steps(self, total_steps: int) -> list[int]:
        found = [round(share * total_steps) for share in sorted(self.check_frac)]
        if any(not 0 < step < total_steps for step in found):
            what = f"checks at {list(self.check_frac)} of {total_steps} steps cannot act; shares must lie inside the run"
            raise InvalidInput([Problem(what, path="controller.check_frac")])
        return found

    def check(self, l0: float) -> None:
        self.offset.fill_(math.log(max(l0, 1e-3)) - math.log(max(float(self.mean), 1e-3)))

    def reason(self, l0: float) -> str:
        strength = float(self.strength)
        moved = f"the penalty stands at {strength:.3g} times its weight"
        if l0 < self.wanted and strength < 1 / FAR:
            return f"{moved}, so it is not what keeps latents off; a lower learning rate or another gate may help"
        if not 1 / FAR < strength < FAR:
            return f"{moved}; start from another weight, or look for a penalty that bears on this gate"
        return f"{moved} and was still moving; more steps, or a larger `controller.integral`, may help"
