"""The uniform numbers a step takes: a function of the member's seed, the step and the block's place alone."""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.assembler.sae import SAE
from archsearch.spec.seeds import seed_of


def noise_of(sae: SAE, seed: int, step: int, rows: int, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Returns the noise of one step of one member, by name; empty for an SAE that takes none.

    Shapes: each [rows, latent] or [latent], uniform on [0, 1). Drawn on `device`: another kind of device draws other numbers.
    """
    drawn = {}
    for place, (name, shape) in enumerate(sae.noise(rows).items()):
        generator = torch.Generator(device).manual_seed(seed_of("noise", seed, step, place))
        drawn[name] = torch.rand(shape, generator=generator, dtype=dtype, device=device)
    return drawn
