"""Runs the command line in this process, and keeps one small finished study."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from archsearch.cli.main import main

ACTIVATIONS = "{source: synthetic, features: 64, model: 16, active: 4, rows: 4000, eval_rows: 500}"
SPACE = f"""
name: tiny
question: Does [it] run?
activations: {ACTIVATIONS}
sae:
  width: 64
  graph:
    center: pre_bias
    encoder: linear_encoder
    gate: {{kind: topk, k: {{int: [2, 16], log: true}}}}
    decoder: linear_decoder
  training: {{tokens: 3200, batch: 64, optimizer: {{kind: adam, lr: {{float: [0.001, 0.01], log: true}}}}}}
baselines:
  topk:
    width: 64
    graph: {{encoder: linear_encoder, gate: {{kind: topk, k: {{int: [2, 16], log: true}}}}, decoder: linear_decoder}}
    training: {{tokens: 3200, batch: 64}}
study: {{trials: 4, sweep: 2, band: [1, 16]}}
"""
SPEC = """
width: 64
graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: 4}, decoder: linear_decoder}
training: {tokens: 3200, batch: 64}
"""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command and returns its exit code and output."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("ARCHSEARCH_DEBUG", raising=False)

    def call(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return call


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a space, a spec and a source of activations."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "activations.yaml").write_text(ACTIVATIONS)
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the small study has run to its end; tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "space.yaml").write_text(SPACE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["study", "--space", "space.yaml", "--device", "cpu"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def there(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the finished study, entered."""
    monkeypatch.chdir(finished)
    return finished
