"""What is wrong with a source is found before anything is harvested, at its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file

from archsearch.activations.bridge import LanguageModel
from archsearch.activations.bundled_hooks import BUNDLED_HOOKS
from archsearch.activations.hooks import unknown_hook
from archsearch.activations.model import BUNDLED
from archsearch.activations.preflight import check_activations, check_inputs
from archsearch.errors import InvalidInput
from archsearch.spec.activations import ActivationsSpec
from archsearch.spec.yaml import loads


def read(source: str) -> Any:
    return TypeAdapter(ActivationsSpec).validate_python(loads(source).data)


def refused(source: str) -> str:
    document = loads(f"name: x\nactivations: {source}\n", file="f.yaml")
    with pytest.raises(InvalidInput) as caught:
        check_activations(read(source), document)
    assert all(problem.line == 2 for problem in caught.value.problems)
    return str(caught.value)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = np.arange(400, dtype=np.float32).reshape(100, 4)
    np.save("good.npy", rows)
    np.save("flat.npy", rows.ravel())
    np.save("few.npy", rows[:3])
    np.save("whole.npy", rows.astype(np.int32))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("cut.npy").write_bytes(Path("good.npy").read_bytes()[:300])
    Path("junk.npy").write_bytes(b"hello" * 100)
    Path("junk.pt").write_bytes(b"")
    save_file({"a": torch.ones(100, 4), "b": torch.ones(100, 4)}, "two.safetensors")
    Path("folder").mkdir()
    return tmp_path


CASES = {
    "none.npy": "activations.path: an activation file must exist; 'none.npy' does not",
    "folder": "activations.path: an activation file must be a file; 'folder' is a folder",
    "flat.npy": "has shape (400,)",
    "few.npy": "'few.npy' holds 3 rows, too few",
    "whole.npy": "'x' holds int32",
    "objects.npy": "it holds Python objects, which are never loaded",
    "cut.npy": "needs 1,728 bytes, it holds 300: it was cut short",
    "junk.npy": "its header cannot be read",
    "junk.pt": "must end in .npy or .safetensors",
    "two.safetensors": "activations.hook: 'two.safetensors' must hold one tensor",
    "two.safetensors, hook: c": "activations.hook: 'two.safetensors' has no tensor 'c'; valid: a, b",
    "good.npy, hook: a": "activations.hook: a .npy file holds one tensor without a name",
}


@pytest.mark.parametrize("path", CASES)
def test_files_are_known_by_their_headers(path: str, place: Path) -> None:
    told = refused(f"{{source: file, path: {path}}}")
    assert told.startswith("f.yaml:2 -> activations.") and CASES[path] in told and "pickle" not in told


def test_good_sources_pass(place: Path) -> None:
    for source in ("{source: file, path: good.npy}", "{source: file, path: two.safetensors, hook: [b, a]}", "{source: bundled}"):
        check_activations(read(source))
    check_activations(read("{source: model, model: owner/name, hook: blocks.40.hook_out, data: folder}"))


def test_hooks_of_the_bundled_model() -> None:
    told = refused("{source: bundled, hook: [blocks.99.hook_out, blocks.1.hook_outt, blocks.1.attn.hook_pattern]}")
    far, near, table = told.splitlines()
    assert far.endswith("it has 4 blocks, counted from 0; the last is 'blocks.3.hook_out'")
    assert "did you mean 'blocks.1.hook_out'?" in near and len(near) < 250
    assert "one vector for each token" in table


def test_the_listed_hooks_are_those_of_the_bundled_model() -> None:
    assert set(BUNDLED_HOOKS) == set(LanguageModel(str(BUNDLED))._hooks)


def test_a_hook_unlike_any_other_is_told_a_few() -> None:
    assert unknown_hook("zzz", BUNDLED_HOOKS).startswith("for instance 'blocks.0.attn.hook_attn_in' (239 in all, such as ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model: ./none", "activations.model: a model's folder must exist"),
        ("model: folder", "activations.model: a model's folder must hold a readable config.json"),
        ("data: ./none", "activations.data: text data must exist"),
        ("data: good.npy", "activations.data: text data must end in one of"),
        (f"model: {BUNDLED}", "has no hook point 'blocks.9.hook_out': it has 4 blocks"),
    ],
)
def test_models_and_data_on_disk(change: str, said: str, place: Path) -> None:
    settings = {"model": "owner/name", "data": "folder", "hook": "blocks.9.hook_out"} | dict([change.split(": ")])
    assert said in refused(f"{{source: model, {', '.join(f'{key}: {value}' for key, value in settings.items())}}}")


def test_inputs_are_the_activations_there_are() -> None:
    two = read("{source: bundled, hook: [blocks.1.hook_out, blocks.2.hook_out]}")
    assert check_inputs(two, ["blocks.2.hook_out", "blocks.1.hook_out"]) == []
    assert "so `inputs` must name them all" in check_inputs(two, ["blocks.2.hook_out"])[0].what
    assert "write `inputs: [blocks.1.hook_out, blocks.2.hook_out]`" in check_inputs(two, ["x"])[0].what
    assert check_inputs(read("{source: bundled}"), ["x"]) == []
