"""A language model small enough to follow, for SAEs that are trained through one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from archsearch.activations.model_windows import ModelWindows
from archsearch.activations.windows import Windows
from archsearch.blocks._splice import Splice

LATER = ("later.0", "later.1")
"""Its hook points behind the rows, narrower than they are."""

EACH = 2
"""Rows of a window, which BOS opens."""


class ToyModel:
    """Holds a row for each token at each of its first hook points; behind them everything is `later` and `logits`.

    `later.0 = tanh(A (mean of rows so far))`, `later.1 = 2 later.0 + 1`, `logits = B later.1`: causal, smooth, and no two positions alike.
    Token ids are numbers of rows; number 0 opens windows as BOS.
    """

    def __init__(self, rows: Mapping[str, Tensor]):
        first = next(iter(rows.values()))
        self.rows, self.dtype = dict(rows), first.dtype
        generator = torch.Generator().manual_seed(5)
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((first.shape[1], 3), (3, len(first)))]
        self.inner, self.outer = (value.to(first.device, first.dtype) for value in drawn)

    def require(self, hooks: tuple[str, ...]) -> None:
        assert set(hooks) <= {*self.rows, *LATER}

    def run(self, tokens: Tensor, edits: Mapping[str, Callable[[Tensor], Tensor | None]], whole: bool = True, grad: bool = False) -> Tensor:
        def at(hook: str, value: Tensor) -> Tensor:
            changed = edits[hook](value) if hook in edits else None
            return value if changed is None else changed

        with torch.set_grad_enabled(grad), torch.autocast("cpu", enabled=False):
            values = [at(hook, rows[tokens]) for hook, rows in self.rows.items()]
            counts = torch.arange(1, tokens.shape[1] + 1, device=values[0].device, dtype=self.dtype)[:, None]
            so_far = torch.stack(values).sum(0).cumsum(1) / counts
            hidden = at(LATER[0], (so_far @ self.inner).tanh())
            return at(LATER[1], 2 * hidden + 1) @ self.outer


def toy_windows(rows: Mapping[str, Tensor]) -> Callable[[], ModelWindows]:
    """Returns what opens windows over all `rows`, two in each behind a BOS token."""
    count = len(next(iter(rows.values())))
    tokens = torch.arange(count).view(-1, EACH)
    tokens = torch.cat([torch.zeros(len(tokens), 1, dtype=torch.long), tokens], 1)
    windows = Windows(tokens, torch.full((len(tokens),), 1 + EACH), 0)
    return lambda: ModelWindows(cast(Any, ToyModel(rows)), {name: name for name in rows}, windows)


class ToySplice(Splice):
    """A splice of the toy model; `passed` is the spliced pass for arrays, as a reference takes it."""

    def passed(self, values: list[np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        found = self.through([torch.tensor(value[-1] if value.ndim > 2 else value) for value in values])
        return found.logits.detach().numpy(), {hook: rows.detach().numpy() for hook, rows in found.rows.items()}


def toy_splice(targets: int, rows: int, model: int, device: str = "cpu") -> ToySplice:
    """Returns a splice of `rows` rows in windows that open with BOS, always the same; numbers are of the default dtype."""
    generator = torch.Generator().manual_seed(9)
    drawn = torch.randn(targets, rows, model, generator=generator, dtype=torch.float64).to(device, torch.get_default_dtype())
    table = {f"hook.{index}": values for index, values in enumerate(drawn)}
    windows = toy_windows(table)()
    numbers = torch.arange(windows.count)

    def through(values: Any) -> Any:
        last = [value[-1] if value.dim() > 2 else value for value in values]
        return windows.through(numbers, dict(zip(table, last)), LATER)

    return ToySplice(windows.tokens.to(device), windows.kept, windows.clean(numbers, LATER)[1], through)
