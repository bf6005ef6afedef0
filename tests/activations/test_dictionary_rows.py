"""Dictionary rows of trained SAEs as activations, through the commands that train and search on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from archsearch.activations import SPLITS, check_activations, check_inputs, open_activations
from archsearch.assembler.build import assemble, load_sae
from archsearch.assembler.parse import parse
from archsearch.assembler.sae import SAE
from archsearch.cli.main import main
from archsearch.errors import DataError, InvalidInput
from archsearch.spec.activations import DictionarySource
from tests.assembler.decodable import document_of, trained
from tests.blocks.harness import base

META = {
    "width": 8,
    "graph": {"center": "pre_bias", "encoder": "linear_encoder", "gate": {"kind": "topk", "k": 2}, "decoder": "linear_decoder"},
    "training": {"tokens": 2000, "batch": 32},
}


def document() -> dict[str, Any]:
    return {**base(), "width": 40}


def written(folder: Path, sae: SAE | None = None, spec: dict[str, Any] | None = None) -> DictionarySource:
    """Writes an SAE as `archsearch train` does, a small one with rows of norm 2 by default."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = spec or document()
    if sae is None:
        sae = assemble(parse(spec), model=6).sae
        with torch.no_grad():
            sae.block("decoder").dictionary.copy_(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)))
    save_file({name: value.detach().contiguous() for name, value in sae.state_dict().items()}, folder / "sae.safetensors")
    (folder / "spec.json").write_text(json.dumps(spec))
    return DictionarySource(source="dictionary", folder=str(folder))


def rows_of(source: DictionarySource) -> torch.Tensor:
    sae = load_sae(json.loads((Path(source.folder) / "spec.json").read_text()), Path(source.folder) / "sae.safetensors")
    return torch.nn.functional.normalize(sae.block("decoder").dictionary.detach(), dim=-1)


def test_every_split_holds_all_rows_at_norm_one(tmp_path: Path):
    source = written(tmp_path)
    opened = open_activations(source)
    assert opened.names == ("x",) and opened.d_model == 6
    for split in SPLITS:
        torch.testing.assert_close(opened.split(split)["x"], rows_of(source))
        assert opened.rows(split) == 40
    assert "rows trained on" in opened.provenance["splits"] and opened.provenance["left_out"] == 0


def test_held_out_rows_are_in_one_split_each(tmp_path: Path):
    source = written(tmp_path)
    opened = open_activations(source.model_copy(update={"held_out": True}))
    assert [opened.rows(split) for split in SPLITS] == [33, 1, 3, 3]
    together = torch.cat([opened.split(split)["x"] for split in SPLITS])
    found = (together @ rows_of(source).T).argmax(1)
    assert sorted(found.tolist()) == list(range(40)) and found.tolist() != list(range(40))
    assert opened.fingerprint != open_activations(source).fingerprint


def test_fingerprint_follows_the_weights_not_the_folder(tmp_path: Path):
    first, again = written(tmp_path / "a"), written(tmp_path / "b")
    assert open_activations(first).fingerprint == open_activations(again).fingerprint
    sae = load_sae(document(), tmp_path / "b" / "sae.safetensors")
    with torch.no_grad():
        sae.block("decoder").dictionary.mul_(2)
    assert open_activations(written(tmp_path / "b", sae)).fingerprint != open_activations(first).fingerprint


def test_rows_of_zeros_are_left_out(tmp_path: Path):
    source = written(tmp_path)
    sae = load_sae(document(), tmp_path / "sae.safetensors")
    with torch.no_grad():
        sae.block("decoder").dictionary[[3, 7]] = 0.0
    opened = open_activations(written(tmp_path, sae))
    assert opened.rows("train") == 38 and opened.provenance["left_out"] == 2
    with torch.no_grad():
        sae.block("decoder").dictionary[1:] = 0.0
    with pytest.raises(DataError, match="at least two dictionary rows that are not zero; got 1"):
        open_activations(written(tmp_path, sae))
    assert source.folder == str(tmp_path)


def test_a_crosscoder_gives_a_part_of_a_row_for_every_target(tmp_path: Path):
    sae, _ = trained("crosscoder")
    spec = document_of("crosscoder")
    source = written(tmp_path, sae, spec)
    opened = open_activations(source)
    names = ("early", "late")
    assert opened.names == names
    parts = opened.split("train")
    torch.testing.assert_close(parts["early"].square().sum(1) + parts["late"].square().sum(1), torch.ones(12))
    assert check_inputs(source, ["x"])[0].path == "inputs" and check_inputs(source, list(names)) == []


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (("spec.json", "sae.safetensors"), "holds no spec.json and no sae.safetensors"),
        (("sae.safetensors",), "holds no sae.safetensors"),
    ],
)
def test_folders_that_are_no_trained_sae(tmp_path: Path, lost: tuple[str, ...], said: str):
    source = written(tmp_path)
    for name in lost:
        (tmp_path / name).unlink()
    with pytest.raises(InvalidInput, match=said):
        check_activations(source)
    with pytest.raises(DataError, match=said):
        open_activations(source)
    with pytest.raises(InvalidInput, match=r"activations\.folder: .*'.*/nowhere' does not exist"):
        check_activations(DictionarySource(source="dictionary", folder=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_specs_that_cannot_be_read(tmp_path: Path, text: str):
    source = written(tmp_path)
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(DataError, match="must be an SAE spec in JSON"):
        open_activations(source)
    assert check_inputs(source, ["x"]) == []  # the file is told of once


def test_weights_of_another_sae(tmp_path: Path):
    source = written(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps({**document(), "width": 41}))
    with pytest.raises(DataError, match="cannot be loaded as this SAE"):
        open_activations(source)


def test_too_few_rows_to_hold_any_out(tmp_path: Path):
    spec = {**base(), "width": 5}
    sae = assemble(parse(spec), model=6).sae
    with torch.no_grad():
        sae.block("decoder").dictionary.copy_(torch.randn(5, 6))
    source = written(tmp_path, sae, spec).model_copy(update={"held_out": True})
    with pytest.raises(DataError, match="5 dictionary rows are too few"):
        open_activations(source)


@pytest.mark.slow
def test_train_and_study_on_a_trained_sae(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """An SAE trained by the command line on synthetic rows, a meta-SAE on its dictionary, and a study of meta-SAEs."""
    first = {**document(), "training": {"tokens": 2000, "batch": 32}}
    synthetic = {"source": "synthetic", "features": 30, "model": 6, "active": 2, "rows": 2000, "eval_rows": 200}
    meta = {"source": "dictionary", "folder": str(tmp_path / "first")}
    space = {
        "name": "meta",
        "activations": meta,
        "sae": {**META, "graph": {**META["graph"], "gate": {"kind": "topk", "k": {"int": [1, 4]}}}},
        "study": {"trials": 2, "sweep": 2, "band": [1, 4]},
    }
    for name, data in (("first", first), ("rows", synthetic), ("meta", META), ("dictionary", meta), ("space", space)):
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    files = {name: str(tmp_path / f"{name}.json") for name in ("first", "rows", "meta", "dictionary", "space")}
    assert main(["train", "--spec", files["first"], "--activations", files["rows"], "--out", str(tmp_path / "first")]) == 0
    assert main(["train", "--spec", files["meta"], "--activations", files["dictionary"], "--out", str(tmp_path / "meta")]) == 0
    told = json.loads((tmp_path / "meta" / "measurements.json").read_text())
    assert told["measurements"]["rows"] == 40 and 0 < told["measurements"]["fvu"] < 1.5
    assert told["provenance"]["activations"]["dictionary"] == 1
    assert main(["check", files["space"], "--estimate"]) == 0
    assert main(["study", "--space", files["space"], "--out", str(tmp_path / "study")]) == 0, capsys.readouterr().err
