"""LISTA encoder."""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec

POWER_STEPS = 10


class ListaEncoder(Encoder):
    """Takes `layers` steps of iterative shrinkage towards the non-negative sparse code of the activation in the dictionary `D`.

    Layer 1 is a linear encoder, `h_1 = s_1 (W_1 x - theta_1)`; layer `t` steps on from what the layers before it make of the activation,
    `h_t = y + (s_t / L) (W_t (x - y D) - theta_t)`, `z_t = relu(h_t)`, where `y = z_(t-1)`, or with `momentum`
    `y = z_(t-1) + rho_t (z_(t-1) - z_(t-2))` from layer 3 on. The output is `h_layers`: its positive part is the code, so that a `relu`
    gate passes it on as it is, and a gate that keeps a count cuts it. Nothing here holds a sparsity: an L1 penalty on the code, which
    moves the thresholds, or the gate after it does.

    `weights: tied`: all `W_t` are `D`. Where `theta` is one number everywhere, `s_t = 1` and the layers are many, the code is the
    minimiser of `|x - z D|^2 / 2 + theta sum_i z_i` over `z >= 0`. `weights: untied`: each layer has rows of its own, which start as
    those of the dictionary.

    Start: `s_t = 1`, `theta_t = threshold`, `rho_t = 0.1`. `L` is the squared largest singular value of `D`, found anew each step by ten
    power iterations, so that a step of 1 contracts whatever `D` has become (a direction all rows share raises `L` tenfold). Thresholds,
    steps and momenta are held at legal values after each optimizer step (`theta >= 0`, `s >= 0`, `0 <= rho <= 1`), not passed through a
    softplus: zero, no shrinkage, is a legal threshold and must stay in reach.

    Scale: where E|x|^2 = d and rows have norm 1, `W x` starts with mean square 1, so `threshold: 2` starts with a fiftieth of the latents
    on. Adam moves a threshold by about the learning rate a step, so where only a penalty makes codes sparse the start decides for long.
    (Measured once, bundled model, 512 latents, 300 steps, one seed, FVU at about L0 16: `relu` and `l1` with a linear encoder 0.40; three
    layers, tied 0.97, 0.65, 0.36 and 0.36 for thresholds from 0.01, 1, 2 and 3, untied 0.42, 0.54, 0.43 and 0.40. Before `topk` it matters
    less: tied 0.27 from 0.01 and 2, untied 0.28 and 0.30, linear 0.30. No run diverged, eight tied layers
    among them; steps ended between 0.2 and 1.7.)

    Gradient: through all layers, and through `L`.

    Differs from the paper: the matrix between layers is `I - D W`, as in its convergence theory, not free, so that it needs no latents
    squared; shrinkage is one-sided; the steps are scalars beside `W`.
    """

    class Spec(StepSpec):
        kind: Literal["lista_encoder"] = "lista_encoder"
        layers: int = Field(3, ge=1, description="Steps of shrinkage, the first being a linear encoder (count).")
        weights: Literal["untied", "tied"] = Field("untied", description="Rows of its own in every layer, or those of the dictionary.")
        momentum: bool = Field(False, description="Extrapolate from the last two codes by a learned share; acts from three layers on.")
        threshold: float = Field(2.0, ge=0, description="Start of every threshold (in units of pre-activations).")

        @model_validator(mode="after")
        def _acting(self) -> ListaEncoder.Spec:
            if self.momentum and self.layers < 3:
                raise ValueError(f"momentum needs two codes before a layer, so three layers at least; got layers: {self.layers!r}")
            return self

    paper = Paper(
        title="Learning fast approximations of sparse coding",
        url="https://icml.cc/Conferences/2010/papers/449.pdf",
        where="section 3, LISTA; coupled weights: arXiv 1808.10038, unfolded ISTA with weight coupling",
    )
    inputs = {**Encoder.inputs, "dictionary": Port((Signal.DICTIONARY, Signal.WEIGHT), default="dictionary")}
    exposes = {"weight": Signal.WEIGHT}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.layers = spec.layers
        widths = {"latent": sizes.latent, "model": sizes.model, "layer": spec.layers, "pair": max(spec.layers - 2, 1)}
        self.rows = _rows(spec)
        for name in self.rows:
            self.parameter(name, ("latent", "model"), widths)
        self.thetas = [f"theta_{layer}" for layer in range(1, spec.layers + 1)]
        for name in self.thetas:
            self.parameter(name, ("latent",), widths, fill=spec.threshold)
        self.parameter("steps", ("layer",), widths, fill=1.0)
        self.momentum = spec.momentum
        if spec.momentum:
            self.parameter("rho", ("pair",), widths, fill=0.1)

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        alone = spec.layers == 1 and spec.weights == "untied"  # a linear encoder: nothing reads the dictionary
        return Encoder.inputs if alone else cls.inputs

    @classmethod
    def shared(cls, spec: Spec) -> dict[str, Signal]:
        return dict.fromkeys(_rows(spec), Signal.WEIGHT)

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * sizes.model * sizes.latent * (2 * spec.layers - 1)  # power iterations are for the batch, not for a row

    def forward(self, x: Float[Tensor, "batch model"], dictionary: Float[Tensor, "latent model"] | None = None) -> Out:
        pre = self.steps[0] * (x @ self._rows(0, dictionary).T - self.theta_1)
        if dictionary is None or self.layers == 1:
            return Out(pre=pre)
        rate, before = self.steps / _squared_norm(dictionary), None
        for layer in range(1, self.layers):
            code = pre.relu()
            ahead = code if before is None or not self.momentum else code + self.rho[layer - 2] * (code - before)
            moved = (x - ahead @ dictionary) @ self._rows(layer, dictionary).T - getattr(self, self.thetas[layer])
            pre, before = ahead + rate[layer] * moved, code
        return Out(pre=pre)

    def _rows(self, layer: int, dictionary: Tensor | None) -> Any:
        return getattr(self, self.rows[layer]) if self.rows else dictionary

    def renormalise(self, parameters: dict[str, Tensor]) -> None:
        for name, value in parameters.items():
            if name == "rho":
                value.clamp_(0, 1)
            elif name == "steps" or name in self.thetas:
                value.clamp_(min=0)


def _rows(spec: ListaEncoder.Spec) -> list[str]:
    """Returns the names of the layers' own rows."""
    return [] if spec.weights == "tied" else ["weight", *(f"weight_{layer}" for layer in range(2, spec.layers + 1))]


def _squared_norm(dictionary: Float[Tensor, "latent model"]) -> Float[Tensor, ""]:
    """Returns the squared largest singular value, nearly: ten power iterations from the sum of the rows reach it from below."""
    direction = dictionary.sum(0) + dictionary[0]  # blocks draw nothing; the first row stands in where all of them cancel
    for _ in range(POWER_STEPS):
        direction = direction / direction.norm().clamp(min=1e-12)
        direction = dictionary.T @ (dictionary @ direction)
    return direction.norm().clamp(min=1e-12)
