"""Sources without a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from archsearch.activations import SPLITS, codes, open_activations
from archsearch.errors import DataError
from archsearch.spec.activations import FileSource, SyntheticSource

SYNTHETIC = SyntheticSource(source="synthetic", features=50, model=20, active=5.0, rows=20_000, eval_rows=500)


def test_synthetic_rows_are_sums_of_known_features():
    opened = open_activations(SYNTHETIC)
    code = codes(SYNTHETIC, "validate", 0, 500)
    assert torch.allclose(opened.split("validate")["x"], code @ opened.features["x"])
    assert opened.names == ("x",) and opened.d_model == 20 and opened.splicer() is None
    assert [opened.rows(split) for split in SPLITS] == [20_000, 500, 500, 500]


def test_synthetic_moments():
    code = torch.cat([codes(SYNTHETIC, "train", start, 8192) for start in (0, 8192)])
    assert abs((code > 0).sum(1).float().mean() - 5.0) < 0.1
    on = code[code > 0]
    assert on.min() >= 0.5 and on.max() <= 1.5 and abs(on.mean() - 1.0) < 0.01
    directions = open_activations(SYNTHETIC).features["x"]
    assert torch.allclose(directions.norm(dim=1), torch.ones(50), atol=1e-5)
    mean = open_activations(SYNTHETIC).split("train")["x"].mean(0)
    assert torch.allclose(mean, 0.1 * directions.sum(0), atol=0.03)


def test_synthetic_depends_on_seed_and_split_only():
    again = open_activations(SYNTHETIC)
    first = open_activations(SYNTHETIC)
    assert torch.equal(first.split("test")["x"], again.split("test")["x"]) and first.fingerprint == again.fingerprint
    assert not torch.equal(first.split("test")["x"], first.split("validate")["x"])
    other = open_activations(SYNTHETIC.model_copy(update={"seed": 1}))
    assert other.fingerprint != first.fingerprint
    assert not torch.equal(other.features["x"], first.features["x"])


def test_synthetic_views_share_codes():
    opened = open_activations(SYNTHETIC.model_copy(update={"hooks": 2}))
    assert opened.names == ("view.0", "view.1")
    code = codes(SYNTHETIC, "calibrate", 0, 500)
    for name in opened.names:
        assert torch.allclose(opened.split("calibrate")[name], code @ opened.features[name])


def test_unknown_split_is_refused():
    with pytest.raises(DataError, match="train, calibrate, validate, test; got 'dev'"):
        open_activations(SYNTHETIC).rows("dev")


def test_rows_that_do_not_fit_stay_as_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    save_file({"h": torch.randn(100, 4).to(torch.bfloat16)}, tmp_path / "a.safetensors")
    spec = FileSource(source="file", path=str(tmp_path / "a.safetensors"))
    assert open_activations(spec).split("train")["x"].dtype == torch.float32
    monkeypatch.setattr("archsearch.activations.data.free_bytes", lambda device: 0)
    assert open_activations(spec).split("train")["x"].dtype == torch.bfloat16


def test_one_file_is_cut_into_blocks(tmp_path: Path):
    rows = np.arange(400, dtype=np.float32).reshape(100, 4)
    np.save(tmp_path / "a.npy", rows)
    opened = open_activations(FileSource(source="file", path=str(tmp_path / "a.npy")))
    assert [opened.rows(split) for split in SPLITS] == [82, 4, 7, 7]
    assert torch.equal(torch.cat([opened.split(split)["x"] for split in SPLITS]), torch.from_numpy(rows))


def test_a_file_for_each_split_with_several_hooks(tmp_path: Path):
    paths = {}
    for split in SPLITS:
        paths[split] = str(tmp_path / f"{split}.safetensors")
        save_file({"p": torch.randn(6, 3), "q": torch.randn(6, 3), "other": torch.zeros(1)}, paths[split])
    opened = open_activations(FileSource(source="file", paths=paths, hook=("q", "p")))
    assert opened.names == ("q", "p") and opened.d_model == 3 and opened.rows("test") == 6
    assert opened.split("train")["q"].shape == (6, 3)
    with pytest.raises(DataError, match="did you mean 'other'"):
        open_activations(FileSource(source="file", paths=paths, hook="othr"))
    with pytest.raises(DataError, match=r"must hold one tensor.*other, p, q"):
        open_activations(FileSource(source="file", paths=paths))


def test_fingerprint_follows_content(tmp_path: Path):
    spec = FileSource(source="file", path=str(tmp_path / "a.npy"))
    np.save(tmp_path / "a.npy", np.arange(200, dtype=np.float32).reshape(100, 2))
    first = open_activations(spec).fingerprint
    np.save(tmp_path / "a.npy", np.arange(200, dtype=np.float32).reshape(100, 2) + 1)
    assert open_activations(spec).fingerprint != first


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones(4, np.float32), "must be 2-D"),
        (np.ones((2, 2, 2), np.float32), "must be 2-D"),
        (np.ones((0, 4), np.float32), "not empty"),
        (np.ones((4, 0), np.float32), "not empty"),
        (np.array([[1.0, 2.0]] * 7 + [[1.0, np.nan]] * 43, np.float32), "43 of its 50 rows hold NaN or infinity, the first is row 7"),
        (np.ones((50, 2), np.float32), "no variance: all 41 rows of train are the same"),
        (np.zeros((50, 2), np.float32), "no variance: all 41 rows of train are zero"),
        (np.array([[1.0, np.inf]] * 50, np.float16), "must be finite"),
        (np.ones((50, 2), np.int64), "must hold floats"),
        (np.ones((3, 2), np.float32), "too few"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, array: np.ndarray, said: str):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=said):
        open_activations(FileSource(source="file", path=str(tmp_path / "a.npy")))


def test_files_that_cannot_be_used(tmp_path: Path):
    def refused(name: str, said: str, hook: str | None = None) -> None:
        with pytest.raises(DataError, match=said):
            open_activations(FileSource(source="file", path=str(tmp_path / name), hook=hook))

    (tmp_path / "a.npy").write_bytes(b"nonsense")
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    (tmp_path / "a.pt").write_bytes(b"")
    np.save(tmp_path / "good.npy", np.ones((100, 2), np.float32))
    save_file({"i": torch.ones(50, 2, dtype=torch.int32)}, tmp_path / "i.safetensors")
    refused("absent.npy", "must exist")
    refused("a.npy", "must be a .npy file")
    refused("a.safetensors", "must be a safetensors file")
    refused("a.pt", "must end in")
    refused("good.npy", "without a name", hook="x")
    refused("i.safetensors", "must hold floats")


def test_files_of_splits_must_agree(tmp_path: Path):
    paths = {split: str(tmp_path / f"{split}.npy") for split in SPLITS}
    for split in SPLITS:
        np.save(paths[split], np.ones((5, 3 if split == "test" else 2), np.float32))
    with pytest.raises(DataError, match=r"one width.*\[2, 3\]"):
        open_activations(FileSource(source="file", paths=paths))
