"""A threshold that keeps a wanted number of values, chosen once over many rows."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def threshold_keeping(values: Float[Tensor, "rows latent"], per_row: Tensor | int) -> Float[Tensor, ""]:
    """Returns `theta` such that `value >= theta` and `value > 0` hold for `per_row * rows` values: the largest ones.

    Where equal values straddle the count, `theta` leaves it by as little as a threshold can. Zero, which keeps every positive value, if
    there are fewer than wanted. Plain torch, for events: it branches on data.
    """
    positive = values[values > 0]
    wanted = int(per_row) * len(values)
    if wanted > positive.numel():
        return values.new_zeros(())
    theta = positive.kthvalue(positive.numel() - wanted + 1).values
    above = positive[positive > theta]
    too_many, too_few = int((positive >= theta).sum()) - wanted, wanted - above.numel()
    return above.min() if too_many > too_few and above.numel() else theta
