"""Refinement of pre-activations by what a first code left over."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.ops._base import Op
from archsearch.blocks.signals import SPACE, Port, Signal, Sizes
from archsearch.spec.block import Field, Paper, StepSpec


class Refine(Op):
    """Adds to pre-activations what the code of a first gate left unexplained: `h + eta (x - f D - b) W^T`.

    One step of an unrolled encoder around any gate: `encoder -> first gate -> refine -> gate -> decoder`, the gates of one kind or of two.
    The first gate's code is decoded nowhere, so it is no dictionary: L0 counts the second gate's, and an L0 asked for gives both the same
    count. Only `pre` must be named (`{kind: refine, from: encoder}`); the code is that of the block before.

    In a space, `repeat` stands for one block and this is two: a variant unrolls or does not by taking both out
    (`{graph.first: null, graph.refine: null}`), and another pair is written as another two blocks.

    `x` is by default the activation as the SAE reads it, and `b` the bias the decoder adds, so that what is left over is the decoder's own
    error whether or not a pre-bias centres what the encoder reads. Where `x` is wired to an activation already centred, say `bias: false`.

    `f` is the first gate's code, `D` the dictionary. `W` is by default the dictionary too, for encoders without rows; wire
    `weight: encoder.weight` for the encoder's.

    Gradient: through everything; a detached wire to `code` leaves the first gate's choice out.
    """

    class Spec(StepSpec):
        kind: Literal["refine"] = "refine"
        eta: float = Field(0.3, ge=0, description="Length of the step along the error's pre-activations; its start where it is learned.")
        learned: bool = Field(False, description="Let the optimizer move eta.")
        bias: bool = Field(True, description="Take the decoder's bias, where it has one, off x; false where x is centred already.")

    paper = Paper(
        title="claude-auto-research-synthsaebench",
        url="https://github.com/chanind/claude-auto-research-synthsaebench",
        where="autoresearch/sae.py: the encoder of one LISTA step around batch_topk",
    )
    inputs = {
        "pre": Port((Signal.PRE,)),
        "code": Port((Signal.CODE,)),
        "x": Port(SPACE, default="input"),
        "weight": Port((Signal.WEIGHT, Signal.DICTIONARY), default="dictionary"),
        "dictionary": Port((Signal.DICTIONARY, Signal.WEIGHT), default="dictionary"),
        "bias": Port((Signal.BIAS,), default="dictionary", optional=True),
    }
    outputs = {"pre": Signal.PRE}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        if spec.learned:
            self.parameter("eta", ("step",), {"step": 1}, fill=spec.eta)
        else:
            self.setting("eta", spec.eta)

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.bias else {name: port for name, port in cls.inputs.items() if name != "bias"}

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 4 * sizes.model * sizes.latent

    def forward(
        self,
        pre: Float[Tensor, "batch latent"],
        code: Float[Tensor, "batch latent"],
        x: Float[Tensor, "batch model"],
        weight: Float[Tensor, "latent model"],
        dictionary: Float[Tensor, "latent model"],
        bias: Float[Tensor, " model"] | None = None,
    ) -> Out:
        left = x - code @ dictionary
        left = left if bias is None else left - bias
        return Out(pre=pre + self.eta * (left @ weight.T))
