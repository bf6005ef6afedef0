"""Which rows a step sees: a function of the data, the data seed and the step alone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._splice import Splice
from archsearch.errors import DataError
from archsearch.spec.seeds import seed_of


class Batches:
    """Batches of the train split: each epoch walks all rows once, in an order drawn from (data seed, epoch).

    Nothing depends on neighbours or on what was asked before, so a member sees the same rows alone, in a cohort, and after a resume.
    A batch may span two epochs.
    """

    def __init__(self, rows: dict[str, Tensor], batch: int, seed: int, dtype: torch.dtype = torch.float32):
        self.rows, self.batch, self.seed, self.dtype = rows, batch, seed, dtype
        self.count = len(next(iter(rows.values())))
        if self.count < 1:
            raise DataError("the train split must have at least one row; it is empty")
        self._orders: dict[int, Tensor] = {}

    def at(self, step: int) -> dict[str, Float[Tensor, "batch model"]]:
        """Returns the batch of a step (counted from 0), by input name."""
        index = self.indices(step)
        return {name: values.index_select(0, index).to(self.dtype) for name, values in self.rows.items()}

    def take(self, step: int) -> tuple[dict[str, Float[Tensor, "batch model"]], Splice | None]:
        """Returns the batch of a step, and its splice where rows come with their windows."""
        return self.at(step), None

    def indices(self, step: int) -> Tensor:
        """Returns the row numbers of a step's batch."""
        first = step * self.batch
        parts = []
        while len(parts) == 0 or sum(map(len, parts)) < self.batch:
            position = first + sum(map(len, parts))
            epoch, offset = divmod(position, self.count)
            wanted = self.batch - sum(map(len, parts))
            parts.append(self._order(epoch)[offset : offset + wanted])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            if len(self._orders) > 2:
                self._orders.clear()
            generator = torch.Generator().manual_seed(seed_of("rows", self.seed, epoch))
            device = next(iter(self.rows.values())).device
            self._orders[epoch] = torch.randperm(self.count, generator=generator).to(device)
        return self._orders[epoch]
