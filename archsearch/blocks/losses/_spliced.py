"""Terms of the loss taken of the language model, not of the activations."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._splice import Pass, Splice
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.signals import SPACE, Given, Port, Sizes
from archsearch.spec.block import LossSpec


class Spliced(Loss, abstract=True):
    """A term taken of what the language model makes of reconstructions in the place of its activations (end-to-end training).

    It reads the reconstruction of every target, and all of them are put into the model in the same pass; of one with a level axis, the
    last level. Such terms share the pass. Batches are then made of whole windows of tokens, and `training.batch` must hold a whole number
    of them. Alone, without a squared error beside it, it stands under the label that one would bear: `losses: {reconstruction: KIND}`.

    A step costs two passes of the model more, one of them with its gradient; `flops`, which is of inference, counts none of it.
    """

    inputs = {"reconstruction": Port(SPACE, default="outputs", many=True, levels=True)}

    def __init__(self, spec: LossSpec, sizes: Sizes):
        super().__init__(spec)

    @classmethod
    def given(cls, spec: LossSpec) -> dict[str, Given]:
        return {"splice": Given.SPLICE}

    def compared(self, splice: Splice, spliced: Pass) -> Float[Tensor, ""]:
        """Returns the term, from the splice and the pass with every reconstruction in its place."""
        raise NotImplementedError  # abstract

    def forward(self, reconstruction: list[Float[Tensor, "*level batch model"]], *, splice: Splice) -> Out:
        return Out(loss=self.compared(splice, splice.through(reconstruction)))

    def infer(self, **_: Any) -> Out:
        """Returns nothing: there is no model at inference, and what a reconstruction costs it is measured by splicing."""
        return Out()
