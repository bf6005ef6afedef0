"""What gates that are told how many latents to keep share: the count, which may move over the run."""

from __future__ import annotations

from typing import Any

from archsearch.blocks._ramps import set_k
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Given, Sizes


class Counting(Gate, abstract=True):
    """Keeps `k` latents per row, or on average; with `k_start` the count goes from there to `k` over the first `anneal_frac` of the run."""

    sparsity = l0_setting = "k"

    def __init__(self, spec: Any, sizes: Sizes):
        super().__init__()
        set_k(self, spec, sizes)

    @classmethod
    def given(cls, spec: Any) -> dict[str, Given]:
        return spec.k_given()

    @classmethod
    def settled_frac(cls, spec: Any) -> float:
        return spec.anneal_frac or 0.0

    @classmethod
    def l0_range(cls, spec: Any) -> tuple[float, float]:
        """Returns the least and the most latents a row may have on, as far as settings alone tell."""
        return (float(spec.k), float(spec.k))
