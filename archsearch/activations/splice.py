"""What replacing activations by their reconstruction costs the language model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.activations.bridge import Edit, LanguageModel
from archsearch.activations.harvest import as_rows, collect
from archsearch.activations.windows import Windows
from archsearch.errors import DataError

_NO_TARGET = -100
Reconstruct = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""Takes rows [batch, model] by signal name and returns as many rows under the same names, or some of them."""


@dataclass(frozen=True)
class SpliceResult:
    """Cross-entropies in nats per token (lower is better) and the share of the damage undone (higher is better).

    `recovered = (mean_ablated - spliced) / (mean_ablated - clean)`: 1 when the model does as well as with its own activations,
    0 when the reconstruction is no better than the mean activation, negative when worse, NaN when ablation costs nothing. The
    reference is mean ablation rather than the more usual zero ablation, because against zero almost anything recovers 99%.
    """

    clean: float
    spliced: float
    mean_ablated: float
    zero_ablated: float
    num_tokens: int

    @property
    def recovered(self) -> float:
        damage = self.mean_ablated - self.clean
        return (self.mean_ablated - self.spliced) / damage if abs(damage) > 1e-9 else math.nan


class Splicer:
    """Runs held-out windows with rows at hook points replaced.

    All hook points that a reconstruction is made of are replaced in the same pass, by reconstructions of the clean activations; those that
    are only read, as a transcoder's input is, are left alone, in the ablations too. BOS positions keep their own values, as no dictionary
    ever saw them. The loss counts every prediction inside a window. Clean rows, the clean loss and the ablations are computed once and
    kept.

    Args:
        model: the language model.
        hooks: hook point of each signal name.
        windows: held-out windows.
        means: mean activation of train rows by signal name, for mean ablation.
        batch: windows in one forward pass; changes results by rounding only. Eight keep the logits of a small model in cache.
    """

    def __init__(self, model: LanguageModel, hooks: Mapping[str, str], windows: Windows, means: Mapping[str, Tensor], batch: int = 8):
        self.model, self.hooks = model, dict(hooks)
        self.means = {name: mean.to(model.device, torch.float32) for name, mean in means.items()}
        self._batches = list(windows.batches(batch))
        self._ablated: dict[tuple[str, ...], tuple[float, float]] = {}
        self.num_tokens = sum(int(part.predicted().sum()) for part in self._batches)
        if not self.num_tokens:
            raise DataError("splicing needs windows of two tokens or more; these predict nothing")

    def cross_entropy(self, reconstruct: Reconstruct) -> SpliceResult:
        """Returns what the model loses when `reconstruct` stands in for its activations.

        Raises:
            DataError: when reconstructions are missing, of another shape, or not finite.
        """
        with torch.no_grad():
            made = reconstruct(dict(self._rows[0]))
        replaced = tuple(name for name in self.hooks if name in made) or tuple(self.hooks)
        spliced = self._loss(reconstruct, replaced)
        return SpliceResult(self.clean, spliced, *self._ablations(replaced), self.num_tokens)

    @cached_property
    def clean(self) -> float:
        """Loss of the untouched model in nats per token."""
        return self._loss(None)

    @property
    def mean_ablated(self) -> float:
        """Loss in nats per token when every row at every hook point is the mean train row."""
        return self._ablations(tuple(self.hooks))[0]

    @property
    def zero_ablated(self) -> float:
        """Loss in nats per token when every row at every hook point is zero."""
        return self._ablations(tuple(self.hooks))[1]

    def _ablations(self, names: tuple[str, ...]) -> tuple[float, float]:
        """Returns the losses with the mean train row, and with zeros, at some hook points."""
        if names not in self._ablated:
            mean = self._loss(lambda rows: {name: self.means[name].expand_as(rows[name]) for name in names}, names)
            self._ablated[names] = mean, self._loss(lambda rows: {name: torch.zeros_like(rows[name]) for name in names}, names)
        return self._ablated[names]

    @cached_property
    def _rows(self) -> list[dict[str, Tensor]]:
        """Clean rows of each batch by signal name."""
        points = tuple(self.hooks.values())
        found = [collect(self.model, part, points) for part in self._batches]
        return [{name: rows[hook] for name, hook in self.hooks.items()} for rows in found]

    def _loss(self, reconstruct: Reconstruct | None, names: tuple[str, ...] = ()) -> float:
        total = 0.0
        for part, rows in zip(self._batches, self._rows, strict=True):
            edits = {} if reconstruct is None else self._edits(part, rows, reconstruct, names)
            logits = self.model.run(part.tokens, edits)
            assert logits is not None
            total += summed_loss(logits, part)
        return total / self.num_tokens

    def _edits(self, part: Windows, rows: dict[str, Tensor], reconstruct: Reconstruct, names: tuple[str, ...]) -> dict[str, Edit]:
        with torch.no_grad():
            made = reconstruct(dict(rows))
        return {self.hooks[name]: _replace(self.hooks[name], _checked(name, made, rows[name]), part) for name in names}


def summed_loss(logits: Float[Tensor, "window position vocabulary"], windows: Windows) -> float:
    """Returns the summed next-token cross-entropy of `windows` in nats."""
    targets = torch.where(windows.predicted(), windows.tokens.roll(-1, dims=1), _NO_TARGET).to(logits.device)
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=_NO_TARGET, reduction="sum")
    return float(losses)


def _replace(hook: str, made: Float[Tensor, "batch model"], windows: Windows) -> Edit:
    def replace(value: Tensor) -> Tensor:
        counted = windows.counted().to(value.device)
        changed = as_rows(hook, value, windows).clone()
        changed[counted] = made.to(value.device, value.dtype)
        return changed.view(value.shape)

    return replace


def _checked(name: str, made: Mapping[str, Tensor], wanted: Tensor) -> Tensor:
    if name not in made or made[name].shape != wanted.shape:
        came = tuple(made[name].shape) if name in made else "nothing"
        raise DataError(f"a reconstruction of {name!r} must have shape {tuple(wanted.shape)}; got {came}")
    if not torch.isfinite(made[name]).all():
        raise DataError(f"a reconstruction must be finite; that of {name!r} is not")
    return made[name]
