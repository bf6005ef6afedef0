"""Opened activations: what a training loop, an evaluation and a receipt read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.activations.splits import SPLITS, Split
from archsearch.errors import DataError

if TYPE_CHECKING:
    from archsearch.activations.model_windows import ModelWindows
    from archsearch.activations.splice import Splicer


@dataclass(frozen=True)
class Activations:
    """Rows of four splits at one or several hook points, in a fixed order.

    Args:
        names: signal names: `("x",)` for one hook point, the hook points' own names for several. Row `i` of every name belongs to
            the same token.
        d_model: width of a row.
        fingerprint: SHA-256 of all that decides the rows; part of a run's hash.
        provenance: plain JSON values for a receipt.
        num_rows: rows by split.
        load: returns the rows of a split on the CPU, in any float format, possibly mapped from disk.
        device: where `split` puts rows that fit.
        make_splicer: opens a splicer on a split, for sources with a model.
        make_windows: opens the windows of the train split, for sources with a model.
        features: true directions [latent, model] by signal name, for sources that know them.
    """

    names: tuple[str, ...]
    d_model: int
    fingerprint: str
    provenance: dict[str, Any]
    num_rows: Mapping[Split, int]
    load: Callable[[Split], dict[str, Tensor]]
    device: str = "cpu"
    make_splicer: Callable[[Split], Splicer] | None = None
    make_windows: Callable[[], ModelWindows] | None = None
    features: dict[str, Float[Tensor, "latent model"]] | None = None
    _held: dict[Split, dict[str, Tensor]] = field(default_factory=dict, repr=False)
    _splicers: dict[Split, Splicer] = field(default_factory=dict, repr=False)
    _windows: list[ModelWindows] = field(default_factory=list, repr=False)

    def rows(self, split: str) -> int:
        """Returns the number of rows of a split."""
        return self.num_rows[_known(split)]

    def split(self, split: str) -> dict[str, Float[Tensor, "batch model"]]:
        """Returns the rows of a split by signal name: float32 on `device` if that leaves half of its free memory, else as stored,
        16-bit and mapped from disk on the CPU (the caller moves and casts each batch). Kept after the first call.
        """
        known = _known(split)
        if known not in self._held:
            loaded = self.load(known)
            if 4 * sum(rows.numel() for rows in loaded.values()) <= free_bytes(self.device) // 2:
                loaded = {name: rows.to(self.device, torch.float32) for name, rows in loaded.items()}
            self._held[known] = loaded
        return self._held[known]

    def splicer(self, split: str = "validate") -> Splicer | None:
        """Returns the splicer of a split, or `None` when the source has no model. Kept after the first call."""
        if self.make_splicer is None:
            return None
        known = _known(split)
        if known not in self._splicers:
            self._splicers[known] = self.make_splicer(known)
        return self._splicers[known]

    def windows(self) -> ModelWindows | None:
        """Returns the windows of the train split with the model that reads them, `None` without a model. Kept after the first call."""
        if self.make_windows is not None and not self._windows:
            self._windows.append(self.make_windows())
        return self._windows[0] if self._windows else None


def free_bytes(device: str) -> int:
    """Returns the memory now free on `device`."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _known(split: str) -> Split:
    if split not in SPLITS:
        raise DataError(f"a split must be one of {', '.join(SPLITS)}; got {split!r}")
    return split
