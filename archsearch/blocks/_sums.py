"""Sums of signals that may come in 16 bits."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def wide(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns `value` in 32 bits where it has fewer, else as it is; whatever is added up goes through here.

    Products in 16 bits give signals in 16 bits, whose sums would be rounded to three digits: above 256 they no longer count by ones.
    """
    return value.float() if value.dtype.itemsize < 4 else value
