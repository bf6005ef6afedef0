from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.calibrations import remove_lowest
from archsearch.blocks.calibrations.remove_lowest import RemoveLowest
from archsearch.errors import InvalidInput
from tests.blocks.harness import Example, Two, same


def reference(settings, ports, tensors):
    """Counts and sorts, latent by latent; the share is found by trying every one at which some latent's count changes."""
    size = np.abs(ports["code"])
    count = ports["count"]
    columns = [sorted((value for value in column if value > 0), reverse=True) for column in size.T]
    if settings["per"] == "all":
        every = sorted((value for column in columns for value in column), reverse=True)
        return {"cutoffs": [0.0 if count >= len(every) else every[max(count, 1) - 1]] * len(columns)}
    kept = [min(len(column), 1) for column in columns]
    due = sorted((rank / len(column), latent) for latent, column in enumerate(columns) for rank in range(1, len(column)))
    for _, latent in due:  # beyond the share rank / n the latent's next firing is kept
        if sum(kept) < count:
            kept[latent] += 1
    return {"cutoffs": [column[k - 1] if k < len(column) else 0.0 for column, k in zip(columns, kept)]}


EXAMPLE = Example(
    settings={"l0": 2.0},
    fields={"l0": Two(1.5, 3.0), "share": Two(0.2, 0.5, given={"l0": None}), "per": Two("latent", "all")},
    reference=reference,
)

CODE = torch.tensor([[5.0, 0.0, -8.0, 0.0], [1.0, 0.0, 2.0, 0.0], [3.0, 0.5, -4.0, 0.0], [2.0, 0.0, 6.0, 0.0]])


def _made(**settings) -> RemoveLowest:
    return RemoveLowest(RemoveLowest.Spec(**settings))


@pytest.mark.parametrize("per", ["latent", "all"])
@pytest.mark.parametrize("count", [1, 3, 20, 77, 150, 151, 399, 10_000])
def test_cutoffs_equal_the_reference_and_leave_the_count(per: str, count: int):
    code = torch.randn(100, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    code = torch.where(code.abs() > torch.linspace(0, 3, 8), code, 0.0)
    found = _made(share=0.5, per=per).cutoffs(code, [count])[0]
    same(found, reference({"per": per}, {"code": code.numpy(), "count": count}, {})["cutoffs"])
    left, fired = int(((code.abs() >= found) & (code != 0)).sum()), int((code != 0).sum())
    least = int((code != 0).any(0).sum()) if per == "latent" else 1
    assert left == min(max(count, least), fired)


def test_sorting_in_parts_is_the_same(monkeypatch):
    monkeypatch.setattr(remove_lowest, "SORTED", 8)
    assert _made(share=0.5).cutoffs(CODE, [5])[0].tolist() == [3.0, 0.0, 6.0, 0.0]


def test_every_latent_loses_the_same_share_of_its_firings_by_size():
    """Two of four kept, two of four kept, the only one kept, and one that never fired: five entries of nine."""
    assert _made(share=0.5).cutoffs(CODE, [5])[0].tolist() == [3.0, 0.0, 6.0, 0.0]


def test_one_cutoff_for_all_takes_from_those_whose_activations_are_small():
    assert _made(share=0.5, per="all").cutoffs(CODE, [5])[0].tolist() == [3.0] * 4


def test_latents_equally_due_get_the_last_in_their_order():
    assert _made(share=0.5).cutoffs(CODE[:, [0, 2]], [5])[0].tolist() == [2.0, 6.0]


def test_nothing_is_cut_where_nothing_has_to_go():
    for per in ("latent", "all"):
        assert _made(l0=9.0, per=per).cutoffs(CODE, [9])[0].tolist() == [0.0] * 4
        assert _made(l0=9.0, per=per).cutoffs(torch.zeros(3, 4), [0])[0].tolist() == [0.0] * 4


def test_an_l0_counts_what_flows_past_the_codes():
    assert _made(l0=8.0).keeps(14.0, 2) == pytest.approx(0.5)
    assert _made(l0=8.0).keeps(6.0, 2) == 1.0
    assert _made(l0=8.0).keeps(2.0, 2) == 1.0
    assert _made(share=0.25).keeps(14.0, 2) == 0.75
    with pytest.raises(InvalidInput, match="above 2, the rank that flows past"):
        _made(l0=2.0).suits(2)
    _made(share=0.5).suits(2)


@pytest.mark.parametrize("settings", [{}, {"l0": 4, "share": 0.1}])
def test_it_is_told_either_the_l0_or_the_share(settings: dict):
    with pytest.raises(ValidationError, match="either l0 or share"):
        RemoveLowest.Spec(**settings)


def test_an_l0_it_cannot_bring_about_is_remarked():
    assert _made(l0=8.0).remark(6.04, 6.04) == "asked to leave L0 8, the calibration found only 6.0 and removed nothing"
    assert _made(l0=8.0).remark(9.0, 8.1) == _made(share=0.5).remark(9.0, 4.5) == ""
    assert "every latent that fired keeps one" in _made(l0=8.0, per="latent").remark(40.0, 20.0)
