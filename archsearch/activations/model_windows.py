"""Windows of text and the language model that reads them: rows in context, and what comes of others in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archsearch.activations.windows import Windows
from archsearch.blocks._splice import Pass
from archsearch.errors import DataError

if TYPE_CHECKING:
    from archsearch.activations.bridge import Edit, LanguageModel

Rows = dict[str, Float[Tensor, "batch model"]]


class ModelWindows:
    """The windows of a split that are as long as the context, and the model that reads them.

    Shorter ones, the ends of documents, are left out, so that any number of windows gives a known number of rows, without padding.
    BOS is context only, as in the store: it gives no row, and keeps its own value when rows are replaced. Rows come in 32 bits, where the
    store rounds to 16.

    Args:
        model: the language model, in 32 bits or more.
        hooks: hook point of each signal name.
        windows: windows of one split.

    Raises:
        DataError: the model computes in 16 bits, or most rows lie in windows shorter than the context.
    """

    def __init__(self, model: LanguageModel, hooks: Mapping[str, str], windows: Windows):
        context = windows.tokens.shape[1]
        whole = windows.lengths == context
        self.model, self.hooks = model, dict(hooks)
        self.tokens, self.kept = windows.tokens[whole], int(windows.bos is not None)
        self.rows_each = context - self.kept
        if model.dtype.itemsize < 4:
            raise DataError(
                f"to be trained through, a model must compute in 32 bits; this one has dtype {str(model.dtype).split('.')[1]!r}"
            )
        if 2 * self.count * self.rows_each < windows.num_rows:
            raise DataError(
                f"most rows must lie in windows of the whole context, {context} tokens; {self.count * self.rows_each} of "
                f"{windows.num_rows} do; set `context` nearer to the length of a document"
            )

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self.tokens)

    def clean(self, numbers: Int[Tensor, " window"], points: Sequence[str] = ()) -> tuple[Rows, Pass]:
        """Returns the rows of some windows by signal name, in reading order, and the untouched pass with those at `points`."""
        found: Rows = {}
        edits = {hook: self._reader(hook, found) for hook in {*self.hooks.values(), *points}}
        logits = self.model.run(self.tokens[numbers.cpu()], edits)
        assert logits is not None
        return {name: found[hook] for name, hook in self.hooks.items()}, Pass(logits, {point: found[point] for point in points})

    def through(self, numbers: Int[Tensor, " window"], outputs: Mapping[str, Tensor], points: Sequence[str] = ()) -> Pass:
        """Returns the pass over some windows with `outputs` (rows [batch, model] by signal name) in place of the model's own.

        It can be differentiated with respect to `outputs`.
        """
        found: Rows = {}
        edits = {point: self._reader(point, found) for point in points}
        edits |= {self.hooks[name]: self._writer(name, made) for name, made in outputs.items()}
        logits = self.model.run(self.tokens[numbers.cpu()], edits, grad=True)
        assert logits is not None
        return Pass(logits, found)

    def check(self, targets: Sequence[str], points: Sequence[str]) -> None:
        """Refuses hook points that the model does not have, or that nothing put in the place of `targets` reaches.

        Raises:
            DataError: naming each.
        """
        self.model.require(tuple(points))
        replaced = [self.hooks[target] for target in targets]
        numbers = torch.zeros(1, dtype=torch.long)
        rows, _ = self.clean(numbers)
        # One that is replaced itself would be read before it is, or instead.
        asked = [point for point in points if point not in replaced]
        found = self.through(numbers, {target: rows[target].requires_grad_() for target in targets}, asked).rows
        idle = [point for point in points if point not in found or not found[point].requires_grad]
        if idle:
            raise DataError(
                f"a later hook point must come behind what is replaced, {', '.join(map(repr, replaced))}; "
                f"what is put there does not reach {', '.join(map(repr, idle))}"
            )

    def _reader(self, hook: str, found: Rows) -> Edit:
        def read(value: Tensor) -> None:
            self._fits(hook, value)
            found[hook] = value.flatten(2)[:, self.kept :].flatten(0, 1)

        return read

    def _writer(self, name: str, made: Tensor) -> Edit:
        hook = self.hooks[name]

        def write(value: Tensor) -> Tensor:
            self._fits(hook, value)
            put = made.to(value.device, value.dtype).unflatten(0, (len(value), self.rows_each))
            return torch.cat([value[:, : self.kept], put.view(*put.shape[:2], *value.shape[2:])], 1)

        return write

    def _fits(self, hook: str, value: Tensor) -> None:
        if value.ndim < 3 or value.shape[1] != self.tokens.shape[1]:
            raise DataError(f"a hook point must carry one vector for each token; {hook!r} carries shape {tuple(value.shape)}")
