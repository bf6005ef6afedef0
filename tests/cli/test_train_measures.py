"""What `train` measures beyond L0 and FVU."""

from __future__ import annotations

import json
import math
from pathlib import Path

from tests.cli.conftest import Run

SPEC = """
width: 24
graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: 3}, decoder: linear_decoder}
training: {tokens: 32000, batch: 64, optimizer: {kind: adam, lr: 0.01}}
"""
TREE = "{parents: 4, children: 4, child_on: 0.2}"
PLANTED = f"{{source: synthetic, features: 20, model: 16, active: 3, rows: 4000, eval_rows: 500, hierarchy: {TREE}}}"


def measured(run: Run, folder: Path, *options: str) -> dict[str, float]:
    (folder / "spec.yaml").write_text(SPEC)
    (folder / "source.yaml").write_text(PLANTED)
    ran = run("train", "--spec", folder / "spec.yaml", "--activations", folder / "source.yaml", "--out", folder / "out", *options)
    assert ran.code == 0, ran.err
    return json.loads((folder / "out" / "measurements.json").read_text())["measurements"]


def test_planted_features_are_looked_for_where_the_source_plants_some(run: Run, tmp_path: Path) -> None:
    found = measured(run, tmp_path)
    assert 0.5 < found["mcc"] <= 1 and 0 < found["parent_f1"] <= 1 and 0 <= found["absorption"] <= 1
    assert "gap" not in found


def test_the_gap_to_pursuit_is_measured_on_request(run: Run, tmp_path: Path) -> None:
    found = measured(run, tmp_path, "--pursuit", "--seed", "1")
    assert math.isclose(found["gap"], math.log(found["fvu"] / found["pursuit_fvu"]), rel_tol=1e-4)
    assert math.isclose(found["gap"], found["values_gap"] + found["support_gap"], rel_tol=1e-6)
