"""The language model with reconstructions in the place of its activations, as a term of the loss sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Pass:
    """What the language model makes of a batch of windows.

    Shapes: `logits` [window, position, vocabulary]; `rows` by hook point, each [batch, width]: what stands there at the positions that
    give rows.
    """

    logits: Tensor
    rows: Mapping[str, Tensor]


@dataclass(frozen=True)
class Splice:
    """A batch of whole windows, and the language model its rows come from.

    `tokens`: ids, [window, position]; `kept`: positions at the start of every window that give no row and keep the model's own values (1
    where BOS opens it, else 0), so that batch = window * (position - kept); `clean`: the untouched pass, a constant;
    `through(reconstructions)`: the pass with a reconstruction [batch, model] of every target, in order, in the place of what the model has
    there. All are replaced in one pass. Gradients flow through it to the reconstructions, and into no weight of the model.
    """

    tokens: Tensor
    kept: int
    clean: Pass
    through: Callable[[Sequence[Tensor]], Pass]
