"""The store: whole or absent, and never silently wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from archsearch.activations import SPLITS, Store, StoreWriter, open_store
from archsearch.activations.store import key_of
from archsearch.errors import DataError

ROWS = {"train": 40, "calibrate": 5, "validate": 6, "test": 7}
HOOKS = ("a", "b")


def values(split: str) -> dict[str, torch.Tensor]:
    start = 1000 * SPLITS.index(split)
    first = (torch.arange(ROWS[split] * 3).view(-1, 3) + start).float()
    return {"a": first, "b": -first}


def write(folder: Path) -> Store:
    with StoreWriter(folder, HOOKS, 3, ROWS) as writer:
        for split in SPLITS:
            made = values(split)
            for start in range(0, ROWS[split], 4):
                writer.add(split, {hook: rows[start : start + 4] for hook, rows in made.items()})
        writer.commit({"made": "here"})
    store = open_store(folder)
    assert store is not None
    return store


def test_round_trip_keeps_every_row_once_and_hooks_aligned(tmp_path: Path):
    store = write(tmp_path / "key")
    for split in SPLITS:
        a, b = store.shard(split, "a"), store.shard(split, "b")
        wanted = values(split)["a"].to(torch.bfloat16)
        assert a.dtype == torch.bfloat16 and torch.equal(b, -a)
        assert sorted(a.tolist()) == sorted(wanted.tolist())
        assert store.rows[split] == len(a)
    assert store.shard("train", "a").tolist() != values("train")["a"].to(torch.bfloat16).tolist(), "rows must be shuffled"
    assert store.manifest["recipe"] == {"made": "here"}
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_writing_to_a_mapped_shard_does_not_reach_the_file(tmp_path: Path):
    store = write(tmp_path / "key")
    store.shard("train", "a").zero_()
    assert open_store(tmp_path / "key").shard("train", "a").abs().sum() > 0


def test_bfloat16_keeps_values_float16_cannot(tmp_path: Path):
    rows = dict.fromkeys(SPLITS, 1)
    with StoreWriter(tmp_path / "key", ("a",), 1, rows) as writer:
        for split in SPLITS:
            writer.add(split, {"a": torch.tensor([[1e6]])})
        writer.commit({})
    assert abs(open_store(tmp_path / "key").shard("test", "a").item() / 1e6 - 1) < 1 / 256


def test_nothing_there_is_none(tmp_path: Path):
    assert open_store(tmp_path / "absent") is None


def test_truncated_shard_is_refused(tmp_path: Path):
    write(tmp_path / "key")
    shard = tmp_path / "key" / "train-1.npy"
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"'train-1.npy' must hold \d+ bytes; it holds \d+; delete the folder"):
        open_store(tmp_path / "key")


def test_altered_shard_is_refused(tmp_path: Path):
    write(tmp_path / "key")
    shard = tmp_path / "key" / "validate-0.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"'validate-0.npy' does not match its checksum.*delete the folder"):
        open_store(tmp_path / "key")


def test_missing_shard_and_broken_manifest_are_refused(tmp_path: Path):
    write(tmp_path / "key")
    (tmp_path / "key" / "test-0.npy").unlink()
    with pytest.raises(DataError, match=r"'test-0.npy'.*is missing"):
        open_store(tmp_path / "key")
    (tmp_path / "key" / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"readable manifest.json"):
        open_store(tmp_path / "key")


def test_another_format_is_refused(tmp_path: Path):
    write(tmp_path / "key")
    path = tmp_path / "key" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}), encoding="utf-8")
    with pytest.raises(DataError, match=r"must have format 1.*99"):
        open_store(tmp_path / "key")


def test_interrupted_write_leaves_nothing(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "key", HOOKS, 3, ROWS) as writer:
        writer.add("train", values("train"))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_killed_write_is_not_mistaken_for_a_store(tmp_path: Path):
    writer = StoreWriter(tmp_path / "key", HOOKS, 3, ROWS)  # never left, as when the process is killed
    writer.add("train", values("train"))
    assert open_store(tmp_path / "key") is None


def test_incomplete_or_empty_split_is_not_committed(tmp_path: Path):
    with (
        pytest.raises(DataError, match="'train' must hold 40 rows; it got 4"),
        StoreWriter(tmp_path / "k", HOOKS, 3, ROWS) as writer,
    ):
        writer.add("train", {hook: rows[:4] for hook, rows in values("train").items()})
        writer.commit({})
    with (
        pytest.raises(DataError, match="'train' must hold some rows"),
        StoreWriter(tmp_path / "k", HOOKS, 3, ROWS | {"train": 0}) as w,
    ):
        w.commit({})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float):
    made = values("train")
    made["b"][3, 1] = bad
    with pytest.raises(DataError, match="must be finite; at 'b'"), StoreWriter(tmp_path / "key", HOOKS, 3, ROWS) as writer:
        writer.add("train", made)
    assert list(tmp_path.iterdir()) == []


def test_second_writer_of_the_same_store_gives_way(tmp_path: Path):
    first = write(tmp_path / "key").manifest
    assert write(tmp_path / "key").manifest == first
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_key_depends_on_every_value_and_not_on_order():
    recipe = {"model": "m", "hooks": ["a"], "rows": {"train": 3}}
    assert key_of(recipe) == key_of(dict(reversed(recipe.items())))
    changed = [{**recipe, "model": "n"}, {**recipe, "hooks": ["b"]}, {**recipe, "rows": {"train": 4}}, {**recipe, "more": 1}]
    assert len({key_of(recipe), *map(key_of, changed)}) == 5
