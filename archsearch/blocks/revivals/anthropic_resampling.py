"""Neuron resampling."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from archsearch.blocks.revivals._base import Revival
from archsearch.blocks.signals import Signal
from archsearch.blocks.views import DictionaryView, SAEView
from archsearch.errors import InvalidInput, Problem
from archsearch.spec.block import BlockSpec, Field, Paper


class AnthropicResampling(Revival):
    """Points dead latents at inputs the SAE rebuilds badly.

    At each event, a latent is dead if it has not fired for `window_frac` of the run. Inputs are drawn with probability proportional to
    (squared error)^2; for each dead latent, the unit vector of one input becomes the dictionary row; the same direction, at `scale` times
    the mean norm of the living encoder rows, becomes the encoder row; the latent's biases go back to their start, and the optimizer starts
    anew for everything touched.

    Differs from the paper: the direction is taken from what the encoder reads (after a pre-bias), so that a second stage is revived from
    its own residual; the subset of inputs is smaller by default; Adam's second moments restart at the living rows' mean instead of zero,
    for at zero the next steps are so long that the new direction is lost.
    """

    class Spec(BlockSpec):
        kind: Literal["anthropic_resampling"] = "anthropic_resampling"
        at_frac: list[float] = Field([0.25, 0.5, 0.75], min_length=1, description="Moments of the events (shares of the run, 0 to 1).")
        window_frac: float = Field(0.125, gt=0, lt=1, description="Share of the run without firing after which a latent is dead.")
        scale: float = Field(0.2, gt=0, description="New encoder norm, in units of the living latents' mean norm.")
        subset_rows: int = Field(8192, ge=1, description="Inputs among which new directions are drawn (count).")

    paper = Paper(
        title="Towards Monosemanticity",
        url="https://transformer-circuits.pub/2023/monosemantic-features",
        where="appendix, neuron resampling",
    )

    def __init__(self, spec: Spec):
        super().__init__()
        self.at_frac, self.window_frac = tuple(spec.at_frac), spec.window_frac
        self.scale, self.subset_rows = spec.scale, spec.subset_rows

    def suits(self, dictionaries: dict[str, frozenset[str]]) -> None:
        for name, signals in dictionaries.items():
            if Signal.WEIGHT not in signals:
                what = f"the encoder of {name!r} has no rows that are directions of its input: there is nothing to point at an input"
                raise InvalidInput([Problem(what, path="revival")])

    @classmethod
    def settled_frac(cls, spec: Spec) -> float:
        return max(spec.at_frac)

    def steps(self, total_steps: int, batch: int) -> list[int]:
        found = []
        for share in self.at_frac:
            step = round(share * total_steps)
            if not 0 < step < total_steps:
                what = f"an event at {share!r} of {total_steps} steps cannot act; shares must lie inside the run"
                raise InvalidInput([Problem(what, path="revival.at_frac")])
            if step < self.window_frac * total_steps:
                what = f"an event at {share!r} comes before window_frac={self.window_frac!r} has passed: no latent can be dead yet"
                raise InvalidInput([Problem(what, path="revival.at_frac")])
            found.append(step)
        return sorted(set(found))

    @torch.no_grad()
    def apply_to(self, sae: SAEView, generator: Generator) -> dict[str, float]:
        window = self.window_frac * sae.run_rows
        dead = [(dictionary, dictionary.idle >= window) for dictionary in sae.dictionaries]
        count = sum(int(mask.sum()) for _, mask in dead)
        if count == 0:
            return {"revived": 0.0}
        rows = sae.sample(self.subset_rows, generator)
        odds = sae.row_loss(rows).double().square().clamp(max=1e300)
        signals = sae.signals(rows)
        for dictionary, mask in dead:
            if mask.any():
                self._revive(dictionary, mask, odds, signals, generator)
        return {"revived": float(count)}

    def _revive(self, dictionary: DictionaryView, dead: Tensor, odds: Tensor, signals: dict[str, Tensor], generator: Generator) -> None:
        count = int(dead.sum())
        chosen = _draw(odds, count, generator)
        for parameter in dictionary.own:
            if parameter.role:
                direction = signals[parameter.source][chosen].to(parameter.value.dtype)
                direction = direction / direction.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            if parameter.role == "dictionary":
                parameter.value[dead] = direction
            elif parameter.role == "weight":
                alive = parameter.value[~dead].norm(dim=-1)
                parameter.value[dead] = direction * (self.scale * (alive.mean() if len(alive) else 1.0))
            elif parameter.value.dim() == 1 or not parameter.drawn:
                parameter.value[dead] = parameter.fill
            parameter.restart(dead)
        dictionary.idle[dead] = 0


def _draw(odds: Tensor, count: int, generator: Generator) -> Tensor:
    """Draws `count` rows without replacement while there are enough of non-zero odds, else with."""
    if not odds.sum() > 0:
        odds = torch.ones_like(odds)
    replacement = int((odds > 0).sum()) < count
    # On the generator's device: the choice must not depend on where the SAE lives.
    return torch.multinomial(odds.to(generator.device), count, replacement=replacement, generator=generator).to(odds.device)
