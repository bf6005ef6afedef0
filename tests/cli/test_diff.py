"""`diff` on trials, files, recipes, studies and spaces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archsearch.search.ledger import read_study
from tests.cli.conftest import SPACE, SPEC, Run


def test_two_trials_side_by_side(there: Path, run: Run) -> None:
    record = read_study(there / "studies/tiny")
    told = run("diff", "tiny:2", "tiny:5")
    assert told.code == 0
    ks = [record.trials[number].spec["graph"]["gate"]["k"] for number in (2, 5)]
    assert f"graph.gate.k: {ks[0]} -> {ks[1]}" in told.out.splitlines()
    assert "tiny:2 -> tiny:5: two architectures" in told.out
    assert f"{record.trials[5].measurements['fvu']:.4f}" in told.out
    found = json.loads(run("diff", "tiny:2", "tiny:5", "--json").out)
    measured, built = ([side[part] for side in found["sides"]] for part in ("measurements", "receipt"))
    assert measured == [record.trials[number].measurements for number in (2, 5)]
    assert [side["parameters"] for side in built] == [side["parameters"] for side in measured]  # built at the study's own width


def test_a_trial_and_its_export_are_the_same_sae(there: Path, run: Run, tmp_path: Path) -> None:
    assert run("export", "tiny", "--trial", "3", "--out", tmp_path / "best.json").code == 0
    found = json.loads(run("diff", "tiny:3", tmp_path / "best.json", "--json").out)
    assert (found["summary"], found["differences"], found["notes"]) == ("the same SAE, trained the same way", [], [])
    assert found["sides"][0]["measurements"] == found["sides"][1]["measurements"]


def test_a_folder_of_a_trained_sae_brings_its_measurements(there: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("export", "tiny", "--trial", "3", "--out", tmp_path / "best.json").code == 0
    assert run("train", "--spec", tmp_path / "best.json", "--activations", "space.yaml", "--out", out, "--device", "cpu").code == 0
    found = json.loads(run("diff", "tiny:3", out, "--json").out)
    assert found["differences"] == [] and found["sides"][1]["measurements"]["l0"] > 0


def test_a_block_of_another_kind_is_one_line(place: Path, run: Run) -> None:
    (place / "relu.yaml").write_text(SPEC.replace("{kind: topk, k: 4}", "relu") + "losses: {sparsity: {kind: l1, weight: 2.0}}\n")
    lines = run("diff", "spec.yaml", "relu.yaml").out.splitlines()
    assert "graph.gate: topk (k 4) -> relu" in lines
    assert "losses.sparsity: nothing -> l1 (weight 2.0)" in lines
    assert not any(line.startswith("graph.gate.") for line in lines)


def test_equal_costs_are_told(place: Path, run: Run) -> None:
    (place / "other.yaml").write_text(SPEC.replace("k: 4", "k: 5"))
    lines = run("diff", "spec.yaml", "other.yaml", "--d-model", "16").out.splitlines()
    assert any(line.split() == ["parameters", "2,128", "2,128", "equal"] for line in lines)  # 2 * 16 * 64, and biases of both


def test_other_activations_are_told_and_not_set_off(there: Path, run: Run, tmp_path: Path) -> None:
    assert run("export", "tiny", "--trial", "3", "--out", tmp_path / "best.json").code == 0
    data = json.loads((tmp_path / "best.json").read_text())
    data["provenance"]["activations"]["fingerprint"] = "elsewhere"
    (tmp_path / "best.json").write_text(json.dumps(data))
    told = run("diff", "tiny:3", tmp_path / "best.json")
    assert "measured on different activations" in told.out
    assert any(line.split()[0] == "FVU" and line.split()[-1] == "-" for line in told.out.splitlines() if line.strip())


def test_what_changed_in_a_space_since_its_study(there: Path, run: Run, tmp_path: Path) -> None:
    changed = tmp_path / "space.yaml"
    changed.write_text(SPACE.replace("lr: {float: [0.001, 0.01]", "lr: {float: [0.002, 0.01]"))
    told = run("diff", "tiny", changed)
    assert (told.code, told.out.splitlines()[1:]) == (0, ["  sae.training.optimizer.lr.float: [0.001, 0.01] -> [0.002, 0.01]"])
    refused = run("study", "--space", changed, "--device", "cpu")
    assert refused.code == 1 and told.out.splitlines()[1].strip() in refused.err  # the same words
    assert "nothing that counts differs" in run("diff", "tiny", "space.yaml").out


def test_a_name_of_a_study_and_a_recipe_is_what_the_other_side_is(place: Path, run: Run) -> None:
    (place / "studies").mkdir()
    small = SPACE.replace("name: tiny", "name: topk").replace("trials: 4", "trials: 1")
    (place / "topk.yaml").write_text(small)
    assert run("study", "--space", "topk.yaml", "--device", "cpu").code == 0
    assert "topk -> topk:0: two architectures" in run("diff", "topk", "topk:0").out
    assert "topk -> space.yaml: what differs:" in run("diff", "topk", "space.yaml").out


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("tiny:99", "topk"), "tiny:99 must name a trial of tiny (the last is 5)"),
        (("tinny:1", "topk"), "no study 'tinny'"),
        (("tiny", "topk"), "tiny is a space, the other one SAE; name a trial of it (`tiny:17`), or two spaces"),
        (("topkk", "topk"), "did you mean 'topk'?"),
        (("none.yaml", "topk"), "none.yaml: there is no such file"),
        (("studies", "topk"), "holds neither a spec nor a study"),
    ],
)
def test_what_is_nothing_is_refused(names: tuple[str, str], said: str, there: Path, run: Run) -> None:
    told = run("diff", *names)
    assert (told.code, told.out) == (2, "") and said in told.err
