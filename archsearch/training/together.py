"""One pass of the language model for all members of a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archsearch.blocks._splice import Pass, Splice
from archsearch.training.window_batches import WindowBatches

Tensors = dict[str, Tensor]
_POINT = "point "


class Together:
    """The splices of one step of members trained side by side; under `vmap` each is a member's own, and the model runs once for all.

    A language model is not written for `vmap`: the windows of all members are one longer batch for it instead.

    Args:
        first: the batches of one of them; all are of one model.
        numbers: the windows of every member's own step, one member after another.
    """

    def __init__(self, first: WindowBatches, numbers: Tensor):
        self.first, self.numbers = first, numbers

    def tensors(self, splice: Splice) -> Tensors:
        """Returns what a splice is made of."""
        rows = {_POINT + point: value for point, value in splice.clean.rows.items()}
        return {"tokens": splice.tokens, "logits": splice.clean.logits, **rows}

    def one(self, tensors: Tensors) -> Splice:
        """Returns a member's splice, from its slice of `tensors`."""
        points = {name.removeprefix(_POINT): value for name, value in tensors.items() if name.startswith(_POINT)}
        return Splice(tensors["tokens"], self.first.windows.kept, Pass(tensors["logits"], points), self._through)

    def _through(self, values: Sequence[Tensor]) -> Pass:
        logits, *rows = _Folded.apply(self._all, *values)  # pyright: ignore
        return Pass(logits, dict(zip(self.first.points, rows)))

    def _all(self, values: list[Tensor]) -> list[Tensor]:
        """Returns logits and rows of every member, [member, ...], for reconstructions [member, batch, model]."""
        found = self.first.through(self.numbers, [value.flatten(0, 1) for value in values])
        return [value.unflatten(0, (len(values[0]), -1)) for value in (found.logits, *(found.rows[point] for point in self.first.points))]


class _Folded(torch.autograd.Function):
    """Calls a function once for all members; it is differentiated as what it calls."""

    generate_vmap_rule = False

    @staticmethod
    def forward(call: Callable[..., Any], *values: Tensor) -> Any:
        raise NotImplementedError("only members side by side share a pass")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        raise NotImplementedError("only members side by side share a pass")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], call: Callable[..., Any], *values: Tensor) -> Any:
        count = info.batch_size
        stacked = [value.expand(count, *value.shape) if dim is None else value.movedim(dim, 0) for dim, value in zip(in_dims[1:], values)]
        found = tuple(call(stacked))
        return found, (0,) * len(found)
