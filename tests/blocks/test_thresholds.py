from __future__ import annotations

import pytest
import torch

from archsearch.blocks._thresholds import threshold_keeping
from tests.blocks.harness import ROWS_OF_DATA, base, data, grown


def _kept(values: torch.Tensor, per_row: int) -> int:
    theta = threshold_keeping(values, per_row)
    return int(((values >= theta) & (values > 0)).sum())


@pytest.mark.parametrize("per_row", [1, 3, 7])
def test_the_mean_number_kept_is_exact(per_row: int):
    values = torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
    assert _kept(values, per_row) == per_row * 50


def test_the_smallest_value_wanted_is_the_threshold():
    assert threshold_keeping(torch.tensor([[5.0, 4.0, -9.0], [3.0, 1.0, 0.0]]), 1) == 4.0


def test_too_few_positive_values_are_all_kept():
    values = torch.tensor([[0.5, 1e-30, -1.0], [-2.0, -3.0, 0.0]])
    assert threshold_keeping(values, 2) == 0.0 and _kept(values, 2) == 2
    assert threshold_keeping(-values.abs(), 1) == 0.0
    assert _kept(values, 1) == 2  # as many as wanted


@pytest.mark.parametrize(
    ("row", "wanted", "kept"), [([3.0, 2.0, 2.0, 2.0], 2, 1), ([3.0, 2.0, 2.0, 1.0], 2, 3), ([2.0, 2.0, 2.0, 2.0], 1, 4)]
)
def test_ties_leave_the_count_by_as_little_as_a_threshold_can(row: list[float], wanted: int, kept: int):
    assert _kept(torch.tensor([row]), wanted) == kept


@pytest.mark.parametrize("kind", ["topk", "batch_topk", "abs_topk"])
def test_after_a_run_calibrated_gates_keep_k_latents_a_row_of_the_calibrate_split(kind: str):
    document = base()
    document["graph"]["gate"] = {"kind": kind, "k": 3, "inference": "calibrated", "k_start": 6, "anneal_frac": 0.5}
    assert (grown(document).sae.encode(data()) != 0).sum() == 3 * ROWS_OF_DATA
