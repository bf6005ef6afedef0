"""`check`, `train`, `blocks`, `schema` and `harvest`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from archsearch.blocks.catalogue import catalogue
from tests.cli.conftest import Run


def test_a_good_space_and_a_good_spec_pass(place: Path, run: Run) -> None:
    told = run("check", "space.yaml")
    assert told.code == 0 and "a space;" in told.out and "swept: graph.gate.k" in told.out
    told = run("check", "spec.yaml")
    assert told.code == 0 and "an SAE, topk (k 4)" in told.out


def test_all_problems_are_told_with_their_lines(place: Path, run: Run) -> None:
    (place / "bad.yaml").write_text("width: 0\ngraph: {encoder: linear_encodr}\ntraining: {btach: 3}\n")
    told = run("check", "bad.yaml")
    assert told.code == 2 and told.out == ""
    lines = told.err.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["bad.yaml:1", "bad.yaml:2", "bad.yaml:3"]
    assert "did you mean 'linear_encoder'?" in told.err and "did you mean 'batch'?" in told.err


def test_what_does_not_fit_together_is_told_with_its_line(place: Path, run: Run) -> None:
    (place / "bad.yaml").write_text("width: 8\ngraph:\n  gate: topk\n  decoder: linear_decoder\n")
    told = run("check", "bad.yaml")
    assert told.code == 2 and told.err.startswith("bad.yaml:3 -> graph.gate")


def test_a_missing_file_is_wrong_input(place: Path, run: Run) -> None:
    told = run("check", "none.yaml")
    assert (told.code, told.err) == (2, "none.yaml: no such file\n")


@pytest.mark.parametrize("file", ["space.yaml", "spec.yaml"])
def test_an_estimate_says_tokens_disk_memory_and_time(file: str, place: Path, run: Run) -> None:
    told = run("check", file, "--estimate", "--device", "cpu")
    assert told.code == 0
    for word in ("ms/step", "tokens", "disk", "memory", "time"):
        assert word in told.out
    cost = json.loads(run("check", file, "--estimate", "--json", "--device", "cpu").out)["estimate"]
    runs, tokens = (6, 6 * 3200) if file == "space.yaml" else (1, 3200)
    assert (cost["runs"], cost["run_tokens"]) == (runs, tokens)
    assert cost["seconds"] == pytest.approx(cost["harvest_seconds"] + cost["train_seconds"] + cost["measure_seconds"])
    assert cost["seconds"] > 0 and cost["memory_bytes"] > 1e6


def test_training_writes_weights_spec_receipt_and_measurements(place: Path, run: Run) -> None:
    arguments = ["train", "--spec", "spec.yaml", "--activations", "activations.yaml", "--device", "cpu"]
    told = run(*arguments)
    assert told.code == 0
    for word in ("effective L0", "FVU", "dead fraction", "parameters"):
        assert word in told.out
    folder = place / "trained" / "spec"
    assert json.loads((folder / "spec.json").read_text())["graph"]["gate"]["k"] == 4
    assert json.loads((folder / "receipt.json").read_text())["steps"] == 50
    measured = json.loads((folder / "measurements.json").read_text())
    assert 0 < measured["measurements"]["fvu"] < 1 and measured["provenance"]["versions"]["torch"]
    with safe_open(folder / "sae.safetensors", framework="pt") as file:
        assert file.get_tensor("blocks.decoder.dictionary").shape == (64, 16)
    again = run(*arguments, "--json")
    assert json.loads(again.out)["measurements"]["fvu"] == measured["measurements"]["fvu"]
    assert "\x1b" not in again.err


def test_another_run_is_never_written_over(place: Path, run: Run) -> None:
    arguments = ["train", "--spec", "spec.yaml", "--activations", "activations.yaml", "--device", "cpu"]
    assert run(*arguments).code == 0
    before = (place / "trained/spec/sae.safetensors").read_bytes()
    told = run(*arguments, "--seed", "3")
    assert told.code == 1 and "holds another run" in told.err and "--out" in told.err
    assert (place / "trained/spec/sae.safetensors").read_bytes() == before
    assert run(*arguments, "--seed", "3", "--tokens", "640", "--out", "other").code == 0


REFUSED = {
    "a space": (["--spec", "space.yaml"], "holds a space, not one SAE"),
    "an unknown source": (["--spec", "spec.yaml", "--activations", "bundeld"], "did you mean 'bundled'?"),
    "a source with a wrong key": (["--spec", "spec.yaml", "--activations", "wrong.yaml"], "unknown key 'modle'"),
    "an export of nothing": (["--spec", "none.json"], "holds no spec"),
    "too few tokens": (["--spec", "spec.yaml", "--activations", "activations.yaml", "--tokens", "3"], "spec.yaml:4 -> training.tokens"),
    "no such device": (["--spec", "spec.yaml", "--device", "abacus"], "device 'abacus' cannot be used on this machine"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_training_refuses(name: str, place: Path, run: Run) -> None:
    (place / "wrong.yaml").write_text("source: synthetic\nmodle: 3\n")
    (place / "none.json").write_text('{"specs": []}')
    options, message = REFUSED[name]
    told = run("train", *options)
    assert told.code == 2 and message in told.err
    assert not (place / "trained").exists()


def test_every_block_is_listed_and_can_be_shown(run: Run) -> None:
    listed = run("blocks")
    told = json.loads(run("blocks", "--json").out)
    assert {block["kind"] for block in told} == set(catalogue().blocks)
    for block in told:
        assert block["kind"] in listed.out
        shown = run("blocks", block["kind"])
        assert shown.code == 0
        assert all(setting in shown.out for setting in block["settings"])


def test_a_block_is_shown_with_defaults_bounds_and_ports(run: Run) -> None:
    told = json.loads(run("blocks", "topk", "--json").out)
    assert told["settings"]["k"] == {
        "type": "integer",
        "default": 32,
        "required": False,
        "bounds": ">= 1",
        "description": "Latents kept per row (count).",
    }
    assert (told["slot"], told["reads"], told["gives"]) == ("gate", {"pre": ["pre"]}, {"code": "code"})
    assert told["paper"]["url"] in run("blocks", "topk").out


def test_an_unknown_block_is_wrong_input(run: Run) -> None:
    told = run("blocks", "topkk")
    assert told.code == 2 and "did you mean 'topk'?" in told.err


@pytest.mark.parametrize("which", [[], ["space"], ["sae"]])
def test_schemas_are_json(which: list[str], run: Run) -> None:
    told = run("schema", *which)
    assert told.code == 0 and "$schema" in json.loads(told.out)


@pytest.mark.parametrize("options", [["--space", "space.yaml"], ["--activations", "activations.yaml"]])
def test_harvest_says_what_is_there(options: list[str], place: Path, run: Run) -> None:
    told = run("harvest", *options, "--device", "cpu", "--json")
    data = json.loads(told.out)
    assert (told.code, data["d_model"], data["rows"]["train"], data["names"]) == (0, 16, 4000, ["x"])
    assert "width 16" in run("harvest", *options, "--device", "cpu").out


def test_what_is_legal_but_hardly_meant_is_a_note(place: Path, run: Run) -> None:
    text = (place / "space.yaml").read_text()
    (place / "odd.yaml").write_text(text.replace("k: {int: [2, 16], log: true}", "k: 8", 1))
    told = run("check", "odd.yaml")
    assert told.code == 0 and "; 1 hole; swept: graph.gate.k\nnote: no sparsity setting is open anywhere" in told.out
    assert len(json.loads(run("check", "odd.yaml", "--json").out)["notes"]) == 1
    assert json.loads(run("check", "space.yaml", "--json").out)["notes"] == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{source: file, path: none.npy}", "odd.yaml:4 -> activations.path: an activation file must exist"),
        ("{source: synthetic, features: 9, model: 4, active: 2, hooks: 2}", "sae.inputs: the activations are 'view.0', 'view.1'"),
    ],
)
def test_a_check_looks_at_the_activations(source: str, said: str, place: Path, run: Run) -> None:
    (place / "odd.yaml").write_text((place / "space.yaml").read_text().replace((place / "activations.yaml").read_text(), source))
    told = run("check", "odd.yaml")
    assert told.code == 2 and said in told.err


def test_sources_are_looked_at_before_training(place: Path, run: Run) -> None:
    (place / "wrong.yaml").write_text("source: file\npath: none.npy\n")
    told = run("train", "--spec", "spec.yaml", "--activations", "wrong.yaml")
    assert told.code == 2 and told.err.startswith("wrong.yaml:2 -> path: an activation file must exist")
