"""Archetypal decoder."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.decoders._base import Decoder
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class ArchetypalDecoder(Decoder):
    """Adds up rows that lie near averages of data points: `x_hat = f D + b`, `D = (A P + R) exp(s)` (RA-SAE).

    The rows of `A` [latent, point] are weights of averages: not negative, with sum one. `P` [point, model] are data points, drawn from the
    train split before the first step and fixed; `R` takes each row at most `delta` away from its average; `s` is one number for all rows.
    After every step `A` is clipped at zero and divided by its sums, and rows of `R` that are too long are cut to `delta`. The first step
    finds latent `i` on data point `i` (counted round where there are fewer points), no relaxation, and `s` such that rows have norm 1 on
    average. Revivals turn encoder rows only: a dead latent keeps its average.

    Shapes: `code` [..., batch, latent] -> `reconstruction` [..., batch, model].

    State: `candidates`, the points, which no step moves.

    Gradient: `D` is a product, remade at every step; what reads `decoder.dictionary` sends its gradient to `A`, `R` and `s`.

    Differs from the paper: points are drawn, not centroids of clusters; `s` starts at minus the log of the points' mean norm, not at zero.
    """

    class Spec(StepSpec):
        kind: Literal["archetypal_decoder"] = "archetypal_decoder"
        points: int = Field(1024, ge=1, description="Data points that rows are averages of (count).")
        delta: float = Field(
            1.0, ge=0, description="Largest distance of a row from its average (in units of E|x|^2 = d, before exp(s)); 0: none."
        )
        multiplier: bool = Field(True, description="Learn the factor exp(s), the same for all rows; without it rows have the size of data.")
        bias: bool = Field(True, description="Learn the bias added to the reconstruction.")

    paper = Paper(
        title="Archetypal SAE: adaptive and stable dictionary learning for concept extraction in large vision models",
        url="https://arxiv.org/abs/2502.12892",
        where="equation 4, relaxed archetypal dictionary",
    )
    inputs = {**Decoder.inputs, "bias": Port((Signal.BIAS,), default="none", optional=True)}
    exposes = {"dictionary": Signal.DICTIONARY, "bias": Signal.BIAS}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.delta = spec.delta  # acts between steps, so members of a stacked group share it
        widths = {"latent": sizes.latent, "point": spec.points, "model": sizes.model, "one": 1}
        self.state("candidates", torch.zeros(spec.points, sizes.model))
        self.parameter("averages", ("latent", "point"), widths, fill=1 / spec.points, drawn=False)
        self.relaxed = spec.delta > 0
        if self.relaxed:
            self.parameter("relaxation", ("latent", "model"), widths, drawn=False)
        self.scaled = spec.multiplier
        if spec.multiplier:
            self.parameter("log_scale", ("one",), widths)
        if spec.bias and not sizes.wired("bias"):
            self.parameter("bias", ("model",), widths)

    @classmethod
    def shared(cls, spec: Spec) -> dict[str, Signal]:
        return cls.exposes if spec.bias else {"dictionary": Signal.DICTIONARY}

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.bias else Decoder.inputs

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * sizes.model * sizes.latent  # the rows are made once a batch, not once a row

    @classmethod
    def rows_to_fit(cls, spec: Spec) -> int:
        return spec.points

    @property
    def dictionary(self) -> Float[Tensor, "latent model"]:
        """The rows as they are now."""
        rows = self.averages @ self.candidates
        rows = rows + self.relaxation if self.relaxed else rows
        return rows * self.log_scale.exp() if self.scaled else rows

    @torch.no_grad()
    def fit(self, rows: Float[Tensor, "rows model"]) -> None:
        count, latents = len(self.candidates), len(self.averages)
        self.candidates.copy_(rows[torch.arange(count, device=rows.device) % len(rows)])
        place = torch.arange(latents, device=self.averages.device)
        self.averages.zero_()
        self.averages[place, place % count] = 1.0
        if self.relaxed:
            self.relaxation.zero_()
        if self.scaled:
            norms = (self.averages @ self.candidates).norm(dim=-1)
            self.log_scale.copy_(-norms.mean().clamp(min=1e-12).log())

    def forward(self, code: Float[Tensor, "*batch latent"], bias: Float[Tensor, " model"] | None = None) -> Out:
        shift = getattr(self, "bias", None) if bias is None else bias
        product = code @ self.dictionary
        return Out(reconstruction=product if shift is None else product + shift, candidates=self.candidates)

    def renormalise(self, parameters: dict[str, Tensor]) -> None:
        if "averages" in parameters:
            averages = parameters["averages"].relu_()
            averages /= averages.sum(-1, keepdim=True) + 1e-8
        if "relaxation" in parameters:
            relaxation = parameters["relaxation"]
            relaxation *= (self.delta / relaxation.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
