from __future__ import annotations

import pytest
import torch

from archsearch.errors import DataError
from archsearch.training.batches import Batches


def _batches(count: int = 10, batch: int = 4, seed: int = 0) -> Batches:
    return Batches({"x": torch.arange(count, dtype=torch.float32)[:, None]}, batch, seed)


def test_every_epoch_sees_every_row_once():
    batches = _batches()
    seen = torch.cat([batches.indices(step) for step in range(5)]).tolist()  # 20 rows: two epochs, the third batch spans both
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    ahead, fresh = _batches(), _batches()
    for step in range(40):
        ahead.at(step)
    for step in (33, 2, 17):
        assert torch.equal(ahead.at(step)["x"], fresh.at(step)["x"])
    assert not torch.equal(_batches(seed=1).indices(0), fresh.indices(0))


def test_all_inputs_see_the_same_rows():
    rows = torch.arange(10.0)[:, None]
    batch = Batches({"a": rows, "b": -rows}, 4, 0).at(3)
    assert torch.equal(batch["a"], -batch["b"])


def test_a_batch_may_be_larger_than_the_data():
    seen = _batches(count=3, batch=8).indices(0).tolist()
    assert len(seen) == 8 and sorted(seen[:3]) == sorted(seen[3:6]) == [0, 1, 2]


def test_rows_come_in_the_precision_asked_for():
    assert Batches({"x": torch.zeros(4, 2, dtype=torch.float16)}, 2, 0, torch.float64).at(0)["x"].dtype == torch.float64


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="at least one row"):
        _batches(count=0)
