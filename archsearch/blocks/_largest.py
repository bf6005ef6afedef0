"""Which entries are the largest: on a processor by partition alone, which needs neither a sorted list nor places."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real
from torch import Tensor

LONG = 2**13
"""Entries of a line from which few are partitioned: those above a bound that a sample gives (count)."""

STRIDE = 31
"""Of a long line every so many-th entry is in the sample; prime, so that of a flattened batch it holds every column (count)."""

PART = 2**20
"""Entries that are looked at together, so that what is made of many rows by the way takes little memory (count)."""

_KEYS = {torch.float64: torch.int64, torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
_ONE = {dtype: torch.ones(1, dtype=dtype).view(key).numpy()[0] for dtype, key in _KEYS.items()}  # its bits: no conversion from truths


def largest(score: Float[Tensor, "*lines entry"], k: Real[Tensor, ""], bound: int) -> Float[Tensor, "*lines entry"]:
    """Returns one at the `k` largest entries of every line and zero elsewhere, without a gradient.

    Of equal ones at the edge, on a processor those that come first are taken (minus zero is less than zero there). `k` may be any whole
    number from 1 to `bound`, which is static: the largest count of any member of a stack.
    """
    score = score.detach()
    if score.device.type == "cpu":
        return _largest(score, k)
    places = score.topk(min(bound, score.shape[-1]), dim=-1).indices
    chosen = (torch.arange(places.shape[-1], device=score.device) < k).to(score.dtype)
    return torch.zeros_like(score).scatter(-1, places, chosen.expand(places.shape))


# An operation of its own: what it does depends on values, which a recording and `vmap` cannot see into.
@torch.library.custom_op("archsearch::largest", mutates_args=(), device_types="cpu", schema="(Tensor score, Tensor k) -> Tensor")
def _largest(score: Tensor, k: Tensor) -> Tensor:
    wanted, entries = int(k), score.shape[-1]
    if wanted >= entries or not len(score):
        return torch.ones_like(score, memory_format=torch.contiguous_format)
    parts = [_marked(part, wanted) for part in score.reshape(-1, entries).split(max(PART // entries, 1))]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(score.shape)


@_largest.register_fake
def _(score: Tensor, k: Tensor) -> Tensor:
    return torch.empty_like(score, memory_format=torch.contiguous_format)


def _each_member(info: Any, in_dims: tuple[int | None, ...], score: Tensor, k: Tensor) -> tuple[Tensor, int]:
    members = [
        _largest(*(value if dim is None else value.select(dim, member) for value, dim in zip((score, k), in_dims)))
        for member in range(info.batch_size)
    ]
    return torch.stack(members), 0


torch.library.register_vmap("archsearch::largest", _each_member)


def _marked(lines: Tensor, wanted: int) -> Tensor:
    keys = _ordered(lines)
    edges = np.concatenate([_edge(line, wanted) for line in keys]) if keys.shape[1] >= LONG else _edges(keys, wanted)
    on = keys >= edges[:, None]
    if np.count_nonzero(on) > wanted * len(on):
        _drop_ties(on, keys, edges, wanted)
    return torch.from_numpy(on * _ONE[lines.dtype]).view(lines.dtype)


def _ordered(score: Tensor) -> np.ndarray:
    """Returns whole numbers in the order of `score`: they are partitioned faster than floats, and 16 bits fastest."""
    bits = score.contiguous().view(_KEYS[score.dtype]).numpy()
    most = np.iinfo(bits.dtype)
    return bits ^ ((bits >> (most.bits - 1)) & most.max)  # of a negative number all bits but the sign are turned over


def _edges(lines: np.ndarray, wanted: int) -> np.ndarray:
    """Returns the `wanted`-th largest entry of every line."""
    first = lines.shape[1] - wanted
    return np.partition(lines, first, axis=1)[:, first]


def _edge(line: np.ndarray, wanted: int) -> np.ndarray:
    """Returns the `wanted`-th largest entry of a long line, as an array of one."""
    sample = line[::STRIDE]
    # A quarter more than the sample's share, and then some: rarely too few, in which case the whole line is looked at.
    spare = min(int(1.25 * wanted / STRIDE) + 32, len(sample))
    found = line[line >= _edges(sample[None], spare)[0]]
    return _edges((found if len(found) >= wanted else line)[None], wanted)


def _drop_ties(on: np.ndarray, keys: np.ndarray, edges: np.ndarray, wanted: int) -> None:
    """Takes the last of those equal to the edge out of `on` in every line that has too many."""
    excess = on.sum(axis=1, dtype=np.int32) - wanted
    lines = np.flatnonzero(excess)
    line, entry = np.divmod(np.flatnonzero(keys[lines] == edges[lines, None]), keys.shape[1])
    behind = np.bincount(line).cumsum()[line] - np.arange(len(line))  # ties of its line from this one on
    drop = behind <= excess[lines][line]
    on[lines[line[drop]], entry[drop]] = False
