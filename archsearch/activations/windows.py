"""Documents cut into windows of tokens, and which positions of a window count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Windows of one split, padded on the right, in an order that mixes documents.

    Every window holds consecutive tokens of a single document and, if `bos` is not `None`, opens with it. BOS is context only:
    its row is neither harvested nor spliced, because it is the same in every window and, in most models, far from all others.
    Without BOS every position counts, the first one too. Padding comes after every real token, so a causal
    model's values at real positions do not depend on it.
    """

    tokens: Int[Tensor, "window position"]
    lengths: Int[Tensor, " window"]
    bos: int | None

    @property
    def num_rows(self) -> int:
        """How many rows these windows give."""
        return int(self.lengths.sum()) - (len(self.lengths) if self.bos is not None else 0)

    def batches(self, size: int) -> Iterator[Windows]:
        """Yields `size` windows at a time, padded only as far as the longest of them."""
        for start in range(0, len(self.tokens), size):
            lengths = self.lengths[start : start + size]
            yield Windows(self.tokens[start : start + size, : int(lengths.max())], lengths, self.bos)

    def head(self, rows: int) -> Windows:
        """Returns the fewest windows from the start that hold `rows` rows, or all."""
        gained = (self.lengths - int(self.bos is not None)).cumsum(0)
        count = int((gained < rows).sum()) + 1
        return Windows(self.tokens[:count], self.lengths[:count], self.bos)

    def counted(self) -> Bool[Tensor, "window position"]:
        """Marks the positions that give a row: real tokens, except BOS."""
        position = torch.arange(self.tokens.shape[1])
        return (position < self.lengths[:, None]) & (position >= int(self.bos is not None))

    def predicted(self) -> Bool[Tensor, "window position"]:
        """Marks the positions whose next token is in the window, so that a loss can be taken there."""
        return torch.arange(self.tokens.shape[1]) < self.lengths[:, None] - 1


def cut(documents: Sequence[Sequence[int]], context: int, bos: int | None, seed: int) -> Windows:
    """Returns the token ids of `documents` as windows of at most `context` tokens, in the order that `seed` gives.

    The last window of a document is as short as what is left of it, so that no token is thrown away or read twice.
    """
    opening = [] if bos is None else [bos]
    step = context - len(opening)
    pieces = [ids[start : start + step] for ids in documents for start in range(0, len(ids), step)]
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(seed)).tolist()
    tokens = torch.full((len(pieces), context), bos or 0, dtype=torch.long)
    lengths = torch.zeros(len(pieces), dtype=torch.long)
    for row, index in enumerate(order):
        window = [*opening, *pieces[index]]
        tokens[row, : len(window)] = torch.tensor(window)
        lengths[row] = len(window)
    return Windows(tokens, lengths, bos)
