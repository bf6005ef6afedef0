"""Squared error at later hook points."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import field_validator
from torch import Tensor

from archsearch.blocks._splice import Pass, Splice
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._relative import relative
from archsearch.blocks.losses._spliced import Spliced
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, LossSpec, Paper


class DownstreamSquaredError(Spliced):
    """Squared error between what later hook points hold in the clean model and what reconstructions leave there.

    The mean over `hooks` of `|a - a'|^2`, summed over a hook point's width w and averaged over rows, with a the clean row and a' the one
    behind the reconstructions. `scale` makes hook points comparable:

    - `norm`: `w * mean_b |a - a'|^2 / mean_b |a|^2`, as if every hook point were scaled to E|a|^2 = w, as activations are;
    - `fvu`: `w * mean_b |a - a'|^2 / mean_b |a - mean_b a|^2`, w times the share of the variance left;
    - `plain`: as it is, in the model's units. The paper's mean over components is this with `weight` divided by w.

    Beside `spliced_kl` it keeps the model on the paths it takes by itself. Scales are taken of the batch, as constants.

    Gradient: through the model between the replaced hook points and these; none into its weights.

    Differs from the paper: `scale`; the paper's term is `plain`.
    """

    class Spec(LossSpec):
        kind: Literal["downstream_squared_error"] = "downstream_squared_error"
        hooks: list[Annotated[str, Field(min_length=1)]] = Field(
            min_length=1, description="Hook points behind the replaced ones, in TransformerLens' names (`blocks.3.hook_out`)."
        )
        scale: Literal["norm", "fvu", "plain"] = Field("norm", description="Relative to the mean square, to the variance, or as it is.")

        @field_validator("hooks")
        @classmethod
        def _once(cls, hooks: list[str]) -> list[str]:
            if len(set(hooks)) != len(hooks):
                raise ValueError(f"hook points must each be named once; got {hooks!r}")
            return hooks

    paper = Paper(
        title="Identifying functionally important features with end-to-end sparse dictionary learning",
        url="https://arxiv.org/abs/2405.12241",
        where="the downstream term of the loss of SAE_e2e+ds (figure 1)",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.hooks, self.relative_to = tuple(spec.hooks), spec.scale

    @classmethod
    def points(cls, spec: Spec) -> tuple[str, ...]:
        return tuple(spec.hooks)

    def compared(self, splice: Splice, spliced: Pass) -> Float[Tensor, ""]:
        return torch.stack([self._error(splice.clean.rows[hook], spliced.rows[hook]) for hook in self.hooks]).mean()

    def _error(self, clean: Float[Tensor, "batch width"], left: Float[Tensor, "batch width"]) -> Float[Tensor, ""]:
        clean = wide(clean)
        missed = (clean - left).square().sum(-1).mean()
        if self.relative_to == "plain":
            return missed
        if self.relative_to == "fvu":
            return relative(missed, clean)
        square = clean.square().sum(-1).mean()
        return torch.where(square > 0, missed * clean.shape[-1] / torch.where(square > 0, square, 1.0), 0.0)
