"""The whole path of SAEs with several hook points on the command line: check, train, study, export, compare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from archsearch.recipes import recipe
from tests.cli.conftest import Run

VIEWS = "{source: synthetic, features: 64, model: 16, active: 4, hooks: 2, rows: 4000, eval_rows: 500}"
BUNDLED = "{source: bundled, hook: [blocks.0.mlp.hook_in, blocks.0.hook_mlp_out], tokens: 600, eval_tokens: 400}"
TRANSCODER = """
width: 32
inputs: [before, after]
graph: {encoder: linear_encoder, gate: {kind: batch_topk, k: 4}, decoder: {kind: linear_decoder, norm: free}}
outputs: {after: decoder}
training: {tokens: 3200, batch: 64}
"""
SPACE = f"""
name: crossed
activations: {VIEWS}
sae:
  width: 32
  inputs: [view.0, view.1]
  graph:
    first: {{kind: linear_encoder, from: view.0}}
    second: {{kind: linear_encoder, bias: false, from: view.1}}
    both: {{kind: add, from: [first, second]}}
    gate: {{kind: batch_topk, k: {{int: [2, 8], log: true}}}}
    to_first: {{kind: linear_decoder, from: gate}}
    to_second: {{kind: linear_decoder, from: gate}}
  outputs: {{view.0: to_first, view.1: to_second}}
  training: {{tokens: 3200, batch: 64}}
baselines: [crosscoder_l1]
study: {{trials: 2, sweep: 2, band: [1, 32]}}
"""


@pytest.fixture
def views(place: Path) -> Path:
    (place / "views.yaml").write_text(VIEWS)
    (place / "transcoder.yaml").write_text(TRANSCODER)
    return place


@pytest.mark.slow
def test_a_transcoder_of_the_bundled_model(views: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARCHSEARCH_CACHE", str(views / "cache"))
    (views / "bundled.yaml").write_text(BUNDLED)
    assert run("check", "transcoder.yaml").code == 0
    told = run("train", "--spec", "transcoder.yaml", "--activations", "bundled.yaml", "--device", "cpu", "--out", "out")
    assert told.code == 0, told.err
    assert "inputs, in the order of the hook points: before is blocks.0.mlp.hook_in, after is blocks.0.hook_mlp_out" in told.out
    found = json.loads((views / "out" / "measurements.json").read_text())
    assert found["inputs"] == {"before": "blocks.0.mlp.hook_in", "after": "blocks.0.hook_mlp_out"}
    assert 0 < found["measurements"]["fvu"] < 1.2 and found["measurements"]["ce"] > found["measurements"]["ce_clean"]
    spec = json.loads((views / "out" / "spec.json").read_text())
    assert spec["inputs"] == ["blocks.0.mlp.hook_in", "blocks.0.hook_mlp_out"]
    assert spec["outputs"] == {"blocks.0.hook_mlp_out": "decoder.reconstruction"}


def test_a_crosscoder_study_from_the_check_to_the_report(views: Path, run: Run):
    (views / "space.yaml").write_text(SPACE)
    assert run("check", "space.yaml").code == 0
    told = run("study", "--space", "space.yaml", "--device", "cpu")
    assert told.code == 0, told.err
    front = json.loads((views / "studies" / "crossed" / "front.json").read_text())
    assert front["front"] and all(entry["spec"]["inputs"] == ["view.0", "view.1"] for entry in front["front"])
    told = run("export", "crossed", "--out", "best.json", "--fold", "folded")
    assert told.code == 0, told.err
    assert run("train", "--spec", "best.json", "--activations", "views.yaml", "--device", "cpu", "--out", "again").code == 0
    assert run("report", "crossed").code == 0
    assert "view.1" in (views / "studies" / "crossed" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_recipes_are_compared_on_any_two_hook_points(views: Path, run: Run):
    options = ("--activations", "views.yaml", "--device", "cpu", "--width", "32", "--tokens", "6400", "--batch", "32", "--seeds", "1")
    told = run("compare", "crosscoder_l1", "transcoder_topk", "--l0", "2,4", *options, "--out", "compared", "--json")
    assert told.code == 0, told.err
    assert [entry["spec"]["inputs"] for entry in json.loads(told.out)["entries"]] == [["view.0", "view.1"]] * 2


@pytest.mark.parametrize(
    ("inputs", "said"),
    [("[view.0, other]", "cannot name 'other'"), ("[view.0]", "must name them all"), ("[a, b, c]", "cannot name 'a', 'b', 'c'")],
)
def test_inputs_that_are_not_the_activations_are_refused(views: Path, run: Run, inputs: str, said: str):
    (views / "space.yaml").write_text(SPACE.replace("inputs: [view.0, view.1]", f"inputs: {inputs}"))
    told = run("check", "space.yaml")
    assert told.code == 2 and said in told.err


def test_a_full_skip_path_cannot_lie_in_a_band_below_its_rank(views: Path, run: Run):
    skip = "    skip: {kind: linear_map, from: view.0}\n    output: {kind: add, from: [to_first, skip]}\n  outputs: {view.0: output, "
    full = (
        SPACE.replace("band: [1, 32]", "band: [1, 12]")
        .replace("  outputs: {view.0: to_first, ", skip)
        .replace("baselines: [crosscoder_l1]", "")
    )
    (views / "space.yaml").write_text(full)
    told = run("check", "space.yaml", "--d-model", "16")
    said = "would lie between 18 and 24, outside the band [1.0, 12.0] of the study, 16 of it the rank of what flows past the codes"
    assert told.code == 2 and said in told.err
    steered = full.replace("{kind: batch_topk, k: {int: [2, 8], log: true}}", "relu").replace(
        "  training:", "  losses: {sparsity: {kind: l1, weight: {float: [1, 2]}}}\n  training:"
    )
    (views / "space.yaml").write_text(steered)
    told = run("check", "space.yaml", "--d-model", "16")
    assert told.code == 2 and "effective L0 would be 16 or more, outside the band" in told.err
    (views / "space.yaml").write_text(full.replace("linear_map,", "linear_map, bottleneck: 2,"))
    assert run("check", "space.yaml", "--d-model", "16").code == 0


def test_two_models_are_two_tensors_of_a_file(views: Path, run: Run):
    """Model diffing: rows of both models at the same tokens."""
    draw = torch.Generator().manual_seed(0)
    code = (torch.rand(2000, 24, generator=draw) < 0.1).float()
    rows = {name: code @ torch.randn(24, 8, generator=draw) for name in ("base", "tuned")}
    save_file(rows, views / "rows.safetensors")
    (views / "diff.yaml").write_text("{source: file, path: rows.safetensors, hook: [base, tuned]}")
    document = recipe("crosscoder_l1")
    document |= {"width": 32, "training": {**document["training"], "tokens": 6400, "batch": 64}}
    (views / "crosscoder.json").write_text(json.dumps(document))
    told = run("train", "--spec", "crosscoder.json", "--activations", "diff.yaml", "--device", "cpu", "--out", "out")
    assert told.code == 0 and "early is base, late is tuned" in told.out, told.err
