"""`export --fold`: trained SAEs of a study, their gates turned into thresholds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from archsearch.assembler.build import load_sae
from archsearch.cli.main import main
from archsearch.search.ledger import read_study
from tests.cli.conftest import SPACE, Run


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished study of gates that fold."""
    folder = tmp_path_factory.mktemp("calibrated")
    space = SPACE.replace("{kind: topk, k: {int: [2, 16], log: true}}\n", "{kind: batch_topk, k: {int: [2, 16], log: true}}\n")
    (folder / "space.yaml").write_text(space)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["study", "--space", "space.yaml", "--device", "cpu"]) == 0
    return folder / "studies" / "tiny"


def test_a_folded_sae_is_loaded_and_is_the_same(calibrated: Path, run: Run, tmp_path: Path) -> None:
    kept = {int(path.stem): path for path in (calibrated / "saes").glob("*.safetensors")}
    trials = [trial for trial in read_study(calibrated).trials if trial.number in kept and trial.baseline is None]
    number, spec = trials[0].number, trials[0].spec
    told = run("export", calibrated, "--trial", number, "--out", tmp_path / "best.json", "--fold", tmp_path / "folded")
    assert told.code == 0, told.err
    assert f"{tmp_path}/folded/{number}: spec.json, sae.safetensors" in told.out
    folder = tmp_path / "folded" / str(number)
    assert sorted(path.name for path in folder.iterdir()) == ["sae.safetensors", "spec.json"]
    first = load_sae(spec, kept[number])
    second = load_sae(json.loads((folder / "spec.json").read_text()), folder / "sae.safetensors")
    rows = {"x": torch.randn(50, first.graph.model, generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        assert first.graph.model == 16 and first.encode(rows).any()
        assert torch.equal(first.encode(rows), second.encode(rows))
        assert torch.equal(first.reconstruct(rows)["x"], second.reconstruct(rows)["x"])


def test_what_cannot_be_folded_is_refused_and_nothing_written(there: Path, run: Run, tmp_path: Path) -> None:
    told = run("export", "tiny", "--best", "1", "--out", tmp_path / "best.json", "--fold", tmp_path / "folded")
    assert told.code == 2
    assert told.err.startswith("trial ") and ": graph.gate: topk cannot be folded: " in told.err.replace(" -> ", ": ")
    assert not list(tmp_path.iterdir())


def test_weights_that_were_not_kept_are_told(calibrated: Path, run: Run, tmp_path: Path) -> None:
    gone = next(iter((calibrated / "saes").glob("*.safetensors")))
    aside = gone.rename(tmp_path / "aside")
    told = run("export", calibrated, "--trial", gone.stem, "--out", tmp_path / "best.json", "--fold", tmp_path / "folded")
    aside.rename(gone)
    assert told.code == 1 and f"trial {gone.stem}: its weights are not kept" in told.err


def test_a_file_in_the_place_of_the_folder_is_refused(there: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = run("export", "tiny", "--out", tmp_path / "best.json", "--fold", tmp_path / "file")
    assert told.code == 2 and "must be a folder" in told.err
