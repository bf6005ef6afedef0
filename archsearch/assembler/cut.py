"""Cuts the codes of trained SAEs: several that differ by their cut-offs alone, at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.assembler.sae import SAE, Signals
from archsearch.blocks.calibrations._base import Calibration


@torch.no_grad()
def cut_codes(
    saes: Sequence[SAE], calibrations: Sequence[Calibration], rows: dict[str, Float[Tensor, "rows model"]]
) -> list[tuple[float, float]]:
    """Sets the cut-offs of SAEs of the same weights (in place), one dictionary after another as signals flow.

    Args:
        saes: none cut yet.
        calibrations: one each, alike but for how much they keep.
        rows: raw activations of the calibrate split, by input name.

    Returns:
        Effective L0 of each on those rows before and after.
    """
    first, chooses = saes[0], calibrations[0]
    count, dense_rank, codes = len(next(iter(rows.values()))), first.graph.dense_rank, first.cut_codes
    before = first.before_cuts(first.scale(rows))
    whole = before if all(code in before for code in codes.values()) else first.after_cuts(before)
    fired = {name: int(whole[code].count_nonzero()) for name, code in codes.items()}
    l0 = sum(fired.values()) / count + dense_rank
    shares, left = [one.keeps(l0, dense_rank) for one in calibrations], [0] * len(saes)
    for name, code in codes.items():
        counts = [round(share * fired[name]) for share in shares]
        for index, (size, chosen) in enumerate(_chosen(saes, chooses, before, code, counts)):
            saes[index].cutoff_of(name).copy_(chosen)
            left[index] += _left(size, chosen)
    return [(l0, kept / count + dense_rank) for kept in left]


def _chosen(
    saes: Sequence[SAE], chooses: Calibration, before: Signals, code: str, counts: Sequence[int]
) -> Iterator[tuple[Float[Tensor, "rows latent"], Float[Tensor, " latent"]]]:
    """Yields the sizes of the entries of a code, and its cut-offs, for each SAE."""
    if code in before:
        size, cutoffs = before[code].abs(), chooses.cutoffs(before[code], counts)
        yield from ((size, chosen) for chosen in cutoffs)
        return
    for sae, count in zip(saes, counts, strict=True):  # what the cuts before it leave is another code for each
        given = sae.after_cuts(before)[code]
        yield given.abs(), chooses.cutoffs(given, [count])[0]


def _left(size: Float[Tensor, "rows latent"], cutoffs: Float[Tensor, " latent"]) -> int:
    """Returns how many entries of a code of that size are not zero once it is cut."""
    above_zero = torch.nextafter(torch.zeros_like(cutoffs), torch.ones_like(cutoffs))
    return int((size >= torch.maximum(cutoffs, above_zero)).count_nonzero())
