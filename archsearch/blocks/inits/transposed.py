"""Transposed initialisation."""

from __future__ import annotations

from typing import Literal

from torch import Generator

from archsearch.blocks.inits._base import Init
from archsearch.blocks.inits._transposing import Center, center_biases, transpose
from archsearch.blocks.views import SAEView
from archsearch.spec.block import BlockSpec, Field, Paper


class Transposed(Init):
    """Draws random unit dictionary rows, scales them by `norm`, and copies them into every linear encoder of the dictionary: W = D.

    A dictionary kept at unit norm starts there whatever `norm` says; its encoder still starts at `norm`. Biases start at zero, or (the bias
    of the reconstruction) at a centre of the data. Matrices elsewhere get entries of variance 1 / fan-in.

    Of several dictionaries of a code, an encoder starts as the one of its own hook point. A dictionary that rebuilds a hook point which no
    encoder of its latents reads, as a transcoder's does, has nothing to be transposed to: it starts as zero (at random directions where it
    is kept at unit norm), and an encoder whose hook point no dictionary rebuilds starts at random directions of its own.
    """

    class Spec(BlockSpec):
        kind: Literal["transposed"] = "transposed"
        norm: float = Field(1.0, gt=0, description="Norm of the dictionary's and the encoder's rows.")
        bias: Center = Field("zero", description="Start of the bias added to reconstructions.")
        rows: int = Field(4096, ge=1, description="Rows of data the centre is computed from (count).")

    paper = Paper(
        title="Scaling and evaluating sparse autoencoders", url="https://arxiv.org/abs/2406.04093", where="appendix A.1, initialisation"
    )

    def __init__(self, spec: Spec):
        super().__init__()
        self.norm, self.rows = spec.norm, spec.rows
        self.center: Center = spec.bias

    def apply_to(self, sae: SAEView, generator: Generator) -> None:
        transpose(sae, generator, self.norm)
        center_biases(sae, generator, self.center, self.rows)
