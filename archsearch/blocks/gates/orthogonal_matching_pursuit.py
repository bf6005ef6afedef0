"""Orthogonal matching pursuit gate."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.gates._pursuit import TINY, Pursuit, PursuitSpec
from archsearch.blocks.signals import Sizes
from archsearch.spec.block import Field, Paper


class OrthogonalMatchingPursuit(Pursuit):
    """Chooses one latent a turn by what is left, and fits all that were chosen anew by least squares: `min |x - f D|^2` over their values.

    The latent chosen is that with the largest `<r, d_i> / |d_i|` among those that are off, `r` what the last fit left. A value that comes
    out at zero or below leaves the fit and is off again; after the last turn what remains is fitted once more, and clipped at zero. So
    codes are non-negative, and a row has at most `k` latents on. A row stops where the best inner product is at most `tolerance` times
    the first.

    The fit solves the normal equations of the chosen unit rows, `(U U^T + ridge) a = h_S`, `f_i = a_i / |d_i|`, on the pre-activations of
    the chosen latents alone: behind a `tied_encoder` (`bias: false`) `h = D x` and this is least squares on the activation (after a
    pre-bias: `x - b`). `ridge` keeps it solvable where two rows point the same way; they share what either would have.

    Gradient: through the last fit. Behind a tied encoder that of the reconstruction error into the values vanishes (the fit is its
    minimum), so the dictionary learns from the error directly; behind any other it is what trains the encoder. The choices have none.

    Differs from the paper: non-negative, as codes of an SAE are, by leaving negative values out as they appear, which is no complete
    non-negative least squares; the ridge. Overcomplete solves non-negative least squares on the chosen and stops the gradient.
    """

    class Spec(PursuitSpec):
        kind: Literal["orthogonal_matching_pursuit"] = "orthogonal_matching_pursuit"
        ridge: float = Field(1e-4, gt=0, description="Added to the diagonal of the normal equations of unit rows (no unit).")

    paper = Paper(
        title="Orthogonal matching pursuit: recursive function approximation with applications to wavelet decomposition",
        url="https://doi.org/10.1109/ACSSC.1993.342465",
        where="the algorithm; normal equations on the chosen rows",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec, sizes)
        self.setting("ridge", float(spec.ridge))

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        turns = cls.turns(spec, sizes)
        choices = 2 * sizes.model * sizes.latent * (turns - 1)  # the first turn reads pre-activations as they are
        fits = [*range(1, turns + 1), turns]
        return choices + sum(2 * n * (n + 1) * sizes.model + 2 * n**3 // 3 for n in fits)

    def forward(
        self, pre: Float[Tensor, "batch latent"], dictionary: Float[Tensor, "latent model"], progress: Float[Tensor, ""] | None = None
    ) -> Out:
        places, on = self._chosen(pre, dictionary, progress)
        norm = dictionary[places].square().sum(-1).clamp(min=TINY).sqrt()
        units = dictionary[places] / norm[..., None]
        value = self._fit(units, wide(pre).gather(-1, places) / norm, on).relu() / norm
        # A latent that left and was chosen again has two places, of which one is on.
        code = torch.zeros_like(wide(pre)).scatter_add(-1, places, value)
        return Out(code=code.to(pre.dtype))

    @torch.no_grad()
    def _chosen(self, pre: Tensor, dictionary: Tensor, progress: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the latents chosen in every turn, [batch, turns], and which of them are on in the end."""
        heights, first, rebuilt = wide(pre), None, None
        inverse = dictionary.square().sum(-1).clamp(min=TINY).rsqrt()
        places = torch.zeros_like(pre[..., :0], dtype=torch.int64)
        on, units = places.bool(), pre.new_zeros(*pre.shape[:-1], 0, dictionary.shape[-1])
        for taking in self.taking(progress, pre):
            taken = torch.zeros_like(heights).scatter_add(-1, places, on.to(heights.dtype)) > 0
            choice = self.choose(pre, dictionary, rebuilt, first, taken)
            first, row = choice.best if first is None else first, dictionary[choice.place]
            places, on = torch.cat([places, choice.place], -1), torch.cat([on, choice.on & taking], -1)
            units = torch.cat([units, row * inverse[choice.place][..., None]], -2)
            value = self._fit(units, (heights * inverse).gather(-1, places), on)
            on = on & (~(value <= 0) | ~taking)  # a turn that does not count changes nothing; NaN must stay
            rebuilt = (torch.where(on, value, 0.0)[..., None, :] @ units).squeeze(-2)
        return places, on

    def _fit(
        self, units: Float[Tensor, "batch turn model"], heights: Float[Tensor, "batch turn"], on: Tensor
    ) -> Float[Tensor, "batch turn"]:
        """Returns the values of least squared error of the rows that are on, zeros elsewhere."""
        with _in_full(units.device.type):
            units, mask = wide(units), on.to(units.dtype)
            gram = (units @ units.mT) * mask[..., None, :] * mask[..., :, None]
            matrix = gram + torch.diag_embed(torch.where(on, self.ridge, 1.0).to(units.dtype))
            # Not `solve`: it would stop the run, and wait for the device, to say that a matrix is singular, which none is.
            return torch.linalg.solve_ex(matrix, (heights * mask)[..., None])[0].squeeze(-1)


def _in_full(device: str) -> AbstractContextManager[Any]:
    """Returns a context without 16-bit products: rounded to three digits, equations of rows that are nearly alike have no solution."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
