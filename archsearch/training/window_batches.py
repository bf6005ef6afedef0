"""Batches of whole windows, for terms of the loss that are taken of the language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.activations.model_windows import ModelWindows
from archsearch.blocks._splice import Pass, Splice
from archsearch.errors import InvalidInput, Problem
from archsearch.training.batches import Batches


def check_windows(windows: ModelWindows, batch: int, targets: Sequence[str], points: Sequence[str]) -> None:
    """Refuses batches that hold no whole windows, and hook points that cannot be read off a splice.

    Raises:
        InvalidInput: `batch` rows are no whole number of windows.
        DataError: a hook point of `points` is not there, or does not come behind the targets.
    """
    each = windows.rows_each
    if batch % each:
        fewer = batch // each
        near = " or ".join(str(count * each) for count in (fewer, fewer + 1) if count)
        what = f"must hold whole windows, of {each} rows each, for a loss on the language model; got {batch!r}: take {near}"
        raise InvalidInput([Problem(what, "training.batch")])
    windows.check(targets, points)


class WindowBatches(Batches):
    """Batches of whole windows of the train split, whose rows are computed as they are needed: each epoch walks all windows once.

    As with rows, a step's windows are a function of the data, the data seed and the step alone. What a splice needs comes with them.

    Args:
        rows: the stored rows of the train split, for events.
        batch: rows of a step, a multiple of those of a window.
        seed: data seed.
        dtype: of rows.
        windows: the windows and their model.
        targets: signal names of what is replaced, in the order in which reconstructions come.
        points: hook points whose rows are read off.

    Raises:
        InvalidInput, DataError: as `check_windows` says.
    """

    def __init__(
        self,
        rows: dict[str, Tensor],
        batch: int,
        seed: int,
        dtype: torch.dtype,
        windows: ModelWindows,
        targets: Sequence[str],
        points: Sequence[str],
    ):
        super().__init__(rows, batch, seed, dtype)
        check_windows(windows, batch, targets, points)
        self.windows, self.targets, self.points = windows, tuple(targets), tuple(points)
        numbers = torch.arange(windows.count)[:, None]
        self._numbers = Batches({"window": numbers}, batch // windows.rows_each, seed)

    def numbers(self, step: int) -> Tensor:
        """Returns the numbers of a step's windows."""
        return self._numbers.indices(step)

    def at(self, step: int) -> dict[str, Float[Tensor, "batch model"]]:
        """Returns the batch of a step (counted from 0), by input name."""
        return self.take(step)[0]

    def take(self, step: int) -> tuple[dict[str, Float[Tensor, "batch model"]], Splice | None]:
        """Returns the batch of a step and the splice of its windows."""
        numbers = self.numbers(step)
        rows, clean = self.windows.clean(numbers, self.points)
        tokens = self.windows.tokens[numbers].to(clean.logits.device)
        splice = Splice(tokens, self.windows.kept, clean, lambda values: self.through(numbers, values))
        return {name: rows[name].to(self.dtype) for name in self.rows}, splice

    def through(self, numbers: Tensor, values: Sequence[Tensor]) -> Pass:
        """Returns the pass over some windows with `values` in place of the targets."""
        return self.windows.through(numbers, dict(zip(self.targets, values)), self.points)
