"""Interpolated modified Kneser-Ney language model over token ids (Chen and Goodman 1999, section 4.1.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BITS = 12  # per token: five tokens of a vocabulary up to 4,096 fit one int64


@dataclass(frozen=True)
class Order:
    """Counts of one n-gram length, with keys sorted for binary search; an n-gram is a number with its last token lowest.

    `backoff` is the mass a context hands to the shorter one; `discount[min(count, 3)]` is what a count gives up.
    """

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    backoff: np.ndarray
    discount: np.ndarray


class KneserNey:
    """P(w | h) = max(c(hw) - D, 0) / c(h) + backoff(h) P(w | shorter h), down to the uniform distribution.

    The longest n-grams are counted as they stand, shorter ones by how many different tokens come before them. A document is
    opened by `order - 1` tokens 0, which are never predicted.
    """

    def __init__(self, documents: Sequence[Sequence[int]], vocabulary: int, order: int = 5):
        assert vocabulary <= 1 << BITS and order * BITS < 64
        self.vocabulary, self.order = vocabulary, order
        grams, counts = np.unique(np.concatenate([_grams(ids, order) for ids in documents]), return_counts=True)
        self.orders = [_order(grams, counts)]
        for length in range(order - 1, 0, -1):
            grams, counts = np.unique(_last(grams, length), return_counts=True)
            self.orders.insert(0, _order(grams, counts))

    def nats(self, document: Sequence[int]) -> np.ndarray:
        """Returns -ln P of every token of `document`."""
        full = _grams(document, self.order)
        probability = np.full(len(full), 1 / self.vocabulary)
        for length, counted in enumerate(self.orders, start=1):
            grams = _last(full, length)
            context = grams >> BITS
            found = _lookup(counted.grams, counted.counts, grams, 0)
            total = _lookup(counted.contexts, counted.totals, context, 0)
            kept = np.maximum(found - counted.discount[np.minimum(found, 3)], 0.0)
            share = np.where(total > 0, kept / np.maximum(total, 1), 0.0)
            probability = share + _lookup(counted.contexts, counted.backoff, context, 1.0) * probability
        return -np.log(probability)


def _grams(ids: Sequence[int], order: int) -> np.ndarray:
    padded = np.concatenate([np.zeros(order - 1, np.int64), np.asarray(ids, np.int64)])
    key = np.zeros(len(ids), np.int64)
    for place in range(order):
        key = (key << BITS) | padded[place : place + len(ids)]
    return key


def _last(grams: np.ndarray, length: int) -> np.ndarray:
    return grams & ((1 << (BITS * length)) - 1)


def _order(grams: np.ndarray, counts: np.ndarray) -> Order:
    discount = _discounts(counts)
    contexts, place = np.unique(grams >> BITS, return_inverse=True)
    totals = np.bincount(place, weights=counts)
    given = np.bincount(place, weights=np.minimum(discount[np.minimum(counts, 3)], counts))
    return Order(grams, counts, contexts, totals, given / totals, discount)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Returns D for counts of 0, 1, 2 and 3 or more; one half where too little was counted for the formula."""
    n1, n2, n3, n4 = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n1 / (n1 + 2 * n2)
    return np.clip([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3], 0.0, [0.0, 1.0, 2.0, 3.0])


def _lookup(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, default: float) -> np.ndarray:
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], default)
