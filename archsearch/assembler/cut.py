"""Cuts the codes of trained SAEs: several that differ by their cut-offs alone, at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.assembler.sae import SAE
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
        known = chooses.cutoffs(before[code], counts) if code in before else None
        for index, sae in enumerate(saes):  # what the cuts before it leave is another code for each
            given = before[code] if known is not None else sae.after_cuts(before)[code]
            chosen = known[index] if known is not None else chooses.cutoffs(given, counts[index : index + 1])[0]
            sae.cutoff_of(name).copy_(chosen)
            left[index] += _left(given, chosen)
    return [(l0, kept / count + dense_rank) for kept in left]


def _left(code: Float[Tensor, "rows latent"], cutoffs: Float[Tensor, " latent"]) -> int:
    """Returns how many entries of a code are not zero once it is cut."""
    above_zero = torch.nextafter(torch.zeros_like(cutoffs), torch.ones_like(cutoffs))
    return int((code.abs() >= torch.maximum(cutoffs, above_zero)).count_nonzero())
