"""Matryoshka levels."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.levels._prefixes import Prefixes, PrefixSpec
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper


class Matryoshka(Prefixes):
    """Shows nested prefixes of the code, each to be decoded and judged by itself; the whole code is the last level.

    Level `l` keeps the first `round(prefix * latents)` latents and zeroes the rest, after the gate has chosen among all of them. How the
    levels' errors are put together is the loss's setting. What implementations do:

    | implementation | settings, of the loss where not said otherwise |
    |---|---|
    | SAELens | `levels: sum` |
    | dictionary_learning | `levels: mean`, `level_weights` its group weights (1 / levels each by default: the mean is taken twice) |
    | matryoshka_sae | `levels: mean`, here `bias_level: true`; it takes means over d too |
    | claude-auto-research-synthsaebench | `levels: sum`, `inner: added`, here `order: frequency` |

    State: `usage`, the running mean `order` is taken from; with `order: index` none.

    Shapes: `code` [batch, latent] -> `code` [level, batch, latent].

    Differs from the paper: without `bias_level` the level of the decoder's bias alone is left out. `order: frequency` is
    claude-auto-research-synthsaebench's, which counts this batch too, and starts its mean at the first batch; `order: energy` is
    matryoshka-saes', which moves the latents where this moves masks.
    """

    class Spec(PrefixSpec):
        kind: Literal["matryoshka"] = "matryoshka"
        prefixes: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
            [0.0625, 0.125, 0.25, 0.5], min_length=1, description="Sizes of the nested prefixes, rising (shares of the latents, 0 to 1)."
        )

    paper = Paper(
        title="Learning multi-level features with Matryoshka sparse autoencoders", url="https://arxiv.org/abs/2503.17547", where="section 3"
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        # Derived, so that checkpoints need not hold it.
        self.register_buffer("counts", torch.tensor(_counts(spec, sizes)), persistent=False)

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        return {"code": Info(Signal.CODE, sizes.latent, len(_counts(spec, sizes)))}

    def forward(self, code: Float[Tensor, "batch latent"], dictionary: Float[Tensor, "latent model"] | None = None) -> Out:
        return Out(code=self.nested(code, self.counts), **self.used(code, dictionary))


def _counts(spec: Matryoshka.Spec, sizes: Sizes) -> list[int]:
    """Returns the latents of every level.

    Raises:
        AssemblyError: a level that is empty, or not larger than the one before it.
    """
    counts = [*(round(prefix * sizes.latent) for prefix in spec.prefixes), sizes.latent]
    if counts[0] < 1 or any(after <= before for before, after in pairwise(counts)):
        what = f"prefixes must give rising levels of at least one latent; {spec.prefixes!r} of {sizes.latent} latents give {counts}"
        raise AssemblyError([what])
    return [0, *counts] if spec.bias_level else counts
