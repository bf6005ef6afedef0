"""What levels that are prefixes of the latents share: their order, the running use it is taken from, and the level of the bias alone."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.levels._base import Level
from archsearch.blocks.signals import Port, Signal, Sizes
from archsearch.spec.block import Field, StepSpec, refuse_unused


class PrefixSpec(StepSpec):
    """Settings of every level block whose levels are prefixes."""

    bias_level: bool = Field(False, description="Put a level without latents first, which shows what the decoder's bias alone rebuilds.")
    order: Literal["index", "frequency", "energy"] = Field(
        "index", description="Order of the latents: as they are numbered, by how often they fire, or by the mean square of what they add."
    )
    decay: float = Field(0.99, ge=0, lt=1, description="What is left after a step of the running mean the order is taken from (0 to 1).")

    @model_validator(mode="after")
    def _ordered(self) -> PrefixSpec:
        return self if self.order != "index" else refuse_unused(self, ("decay",), "order: index")


class Prefixes(Level, abstract=True):
    """A level whose latents are the first so many of an order; subclasses say how many.

    State: `usage`, with an order other than `index`: the running mean, over batches, of the share of rows in which a latent fires
    (`frequency`), or of `(f_i |d_i|)^2` over rows (`energy`). It starts at zero, and a step goes by the means of the steps before it, so
    that the first has the latents as they are numbered; latents used alike keep that order too.
    """

    inputs = {**Level.inputs, "dictionary": Port((Signal.DICTIONARY,), default="dictionary")}

    def __init__(self, spec: PrefixSpec, sizes: Sizes):
        super().__init__()
        self.order, self.bias_level = spec.order, spec.bias_level
        if spec.order != "index":
            self.setting("decay", spec.decay)
            self.state("usage", torch.zeros(sizes.latent))

    @classmethod
    def ports(cls, spec: Any) -> dict[str, Port]:
        return cls.inputs if spec.order == "energy" else Level.inputs

    def nested(self, code: Float[Tensor, "batch latent"], counts: Int[Tensor, " level"]) -> Float[Tensor, "level batch latent"]:
        """Returns the code with all but the first `counts` latents of the order zeroed, a level for each count."""
        return code * self._masks(code, counts)[:, None, :]

    def _masks(self, code: Tensor, counts: Tensor) -> Bool[Tensor, "level latent"]:
        place = torch.arange(code.shape[-1], device=code.device)
        if self.order != "index":
            place = self.usage.argsort(stable=True, descending=True).argsort()
        # Masks, never slices: members with other orders, or other counts, share one program.
        return place < counts[:, None]

    def used(self, code: Float[Tensor, "batch latent"], dictionary: Float[Tensor, "latent model"] | None) -> Out:
        """Returns the running use after a batch, as state; nothing where the order is that of the numbers."""
        if self.order == "index":
            return Out()
        code = wide(code.detach())
        now = (code != 0).to(code.dtype) if dictionary is None else code.square() * dictionary.detach().square().sum(-1)
        return Out(usage=self.decay * self.usage + (1 - self.decay) * now.mean(0).to(self.usage.dtype))


def levels_of(spec: PrefixSpec, prefixes: int) -> int:
    """Returns how many levels there are: the prefixes, the whole code, and that of the bias alone if it is asked for."""
    return prefixes + 1 + spec.bias_level
