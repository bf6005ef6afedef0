"""Linear decoder."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.decoders._base import Decoder
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper, StepSpec


class LinearDecoder(Decoder):
    """Adds up dictionary rows: `x_hat = f D + b`.

    With `norm: unit` the gradient's component along each row is projected out before the optimizer and the row set back to norm 1 after it.
    Wire `dictionary` to tie the rows to other weights (`from: {code: gate, dictionary: encoder.weight}`), `bias` to share a bias.

    Shapes: `code` [..., batch, latent] -> `reconstruction` [..., batch, model].
    """

    class Spec(StepSpec):
        kind: Literal["linear_decoder"] = "linear_decoder"
        norm: Literal["unit", "free"] = Field("unit", description="Keep every dictionary row at norm 1, or let norms move.")
        bias: bool = Field(True, description="Learn the bias added to the reconstruction.")

    paper = Paper(
        title="Towards Monosemanticity",
        url="https://transformer-circuits.pub/2023/monosemantic-features",
        where="autoencoder training: unit norm, gradient projection",
    )
    inputs = {
        **Decoder.inputs,
        "dictionary": Port((Signal.DICTIONARY, Signal.WEIGHT), default="none", optional=True),
        "bias": Port((Signal.BIAS,), default="none", optional=True),
    }
    exposes = {"dictionary": Signal.DICTIONARY, "bias": Signal.BIAS}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        self.unit_norm = spec.norm == "unit"
        if sizes.wired("dictionary") and self.unit_norm:
            raise AssemblyError(["a decoder whose dictionary is wired to other weights must say `norm: free`: it may not change them"])
        if not sizes.wired("dictionary"):
            self.parameter("dictionary", ("latent", "model"), {"latent": sizes.latent, "model": sizes.model})
        if spec.bias and not sizes.wired("bias"):
            self.parameter("bias", ("model",), {"model": sizes.model})

    @classmethod
    def shared(cls, spec: Spec) -> dict[str, Signal]:
        return cls.exposes if spec.bias else {"dictionary": Signal.DICTIONARY}

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        return cls.inputs if spec.bias else {port: cls.inputs[port] for port in ("code", "dictionary")}

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * sizes.model * sizes.latent

    def forward(
        self,
        code: Float[Tensor, "*batch latent"],
        dictionary: Float[Tensor, "latent model"] | None = None,
        bias: Float[Tensor, " model"] | None = None,
    ) -> Out:
        rows = self.dictionary if dictionary is None else dictionary
        shift = getattr(self, "bias", None) if bias is None else bias
        product = code @ rows
        return Out(reconstruction=product if shift is None else product + shift)

    def project(self, gradients: dict[str, Tensor], parameters: dict[str, Tensor]) -> None:
        if self.unit_norm and "dictionary" in parameters:  # a frozen one is in none of them
            rows, gradient = parameters["dictionary"], gradients["dictionary"]
            gradient -= (gradient * rows).sum(-1, keepdim=True) * rows  # rows have norm 1

    def renormalise(self, parameters: dict[str, Tensor]) -> None:
        if self.unit_norm and "dictionary" in parameters:
            rows = parameters["dictionary"]
            rows /= rows.norm(dim=-1, keepdim=True).clamp(min=1e-12)
