"""`--blocks`: a user's own blocks in every command that reads specs, and what is said without them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from archsearch.blocks.catalogue import catalogue
from archsearch.cli.own_blocks import modules_in
from archsearch.spec.schema import sae_schema
from tests.cli.conftest import SPACE, SPEC, Run

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
TRAIN = ["train", "--activations", "activations.yaml", "--device", "cpu"]
HINT = "if it is a block of your own, name the module or .py file that defines it: --blocks MODULE"
AGAIN = "this was made with --blocks shrink.py: name it again (what a file records is never imported by itself)"


@pytest.fixture
def own(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A working folder with a block, and a spec and a space that use it; runs commands as from a shell."""
    block = re.search(r"^```python archsearch/\S+\n(.*?)^```", PAGE, re.M | re.S)
    assert block is not None
    (place / "shrink.py").write_text(block[1])
    (place / "spec.yaml").write_text(SPEC.replace("kind: topk, k: 4", "kind: shrink, threshold: 0.2"))
    gate = "kind: shrink, threshold: {float: [0.1, 1.0], log: true}"
    space = SPACE.replace("kind: topk, k: {int: [2, 16], log: true}", gate, 1).replace("trials: 4, sweep: 2", "trials: 2, sweep: 1")
    (place / "space.yaml").write_text(space)

    def call(*arguments: str | Path):
        monkeypatch.setattr(sys, "argv", ["archsearch", *map(str, arguments)])
        return run(*arguments)

    return call


def test_check_train_blocks_and_schema_know_the_block(own: Run, place: Path) -> None:
    told = own("check", "spec.yaml", "--blocks", "shrink.py")
    assert told.code == 0 and "shrink (threshold 0.2)" in told.out
    told = own(*TRAIN, "--spec", "spec.yaml", "--blocks", "shrink.py")
    assert told.code == 0, told.err
    measured = json.loads((place / "trained" / "spec" / "measurements.json").read_text())
    assert measured["provenance"]["blocks"]["shrink"]["from"] == "shrink.py"
    assert own("blocks", "--blocks", "shrink.py").out.count("shrink.py") == 1
    assert "\nfrom: shrink.py\n" in own("blocks", "shrink", "--blocks", "shrink.py").out
    listed = {block["kind"]: block["from"] for block in json.loads(own("blocks", "--json", "--blocks", "shrink.py").out)}
    assert listed["shrink"] == "shrink.py" and listed["relu"] == "archsearch"
    for which in ("space", "sae"):
        schema = own("schema", which, "--blocks", "shrink.py").out
        assert json.loads(schema) and '"const": "shrink"' in schema


def test_the_next_command_knows_it_no_more(own: Run) -> None:
    assert own("blocks", "shrink", "--blocks", "shrink.py").code == 0
    assert "shrink" not in catalogue().blocks and "'shrink'" not in str(sae_schema(catalogue().grammar))
    told = own("blocks", "shrink")
    assert told.code == 2 and told.err.startswith("unknown kind 'shrink'; ") and told.err.endswith(f"{HINT}\n")


def test_an_unknown_kind_is_answered_with_the_option(own: Run, place: Path) -> None:
    told = own("check", "spec.yaml")
    assert told.code == 2 and told.err.startswith("spec.yaml:3 -> graph.gate: unknown kind 'shrink'") and told.err.endswith(f"{HINT}\n")
    (place / "spec.yaml").write_text(SPEC.replace("kind: topk", "kind: topkk"))
    assert HINT not in own("check", "spec.yaml").err  # a slip of the pen
    (place / "spec.yaml").write_text(f"{SPEC}revival: {{kind: mine}}\n")
    assert HINT in own("check", "spec.yaml").err


def test_a_broken_module_is_one_message(own: Run, place: Path) -> None:
    (place / "broken.py").write_text("import nosuch\n")
    for command in (["check", "spec.yaml"], ["blocks"], ["schema"], ["study", "--space", "space.yaml"], [*TRAIN, "--spec", "spec.yaml"]):
        told = own(*command, "--blocks", "broken.py")
        assert (told.code, told.out) == (2, "")
        assert told.err == "broken.py:1: ModuleNotFoundError: No module named 'nosuch'\n"
    told = own("blocks", "--blocks", "broken.py", "--blocks", "absent")
    assert told.code == 2 and len(told.err.splitlines()) == 2


def test_a_study_is_read_without_its_blocks_and_goes_on_with_them(own: Run, place: Path) -> None:
    study = ["study", "--space", "space.yaml", "--device", "cpu"]
    told = own(*study, "--blocks", "shrink.py")
    assert told.code == 0, told.err
    told = own("status", "tiny")
    assert told.code == 0 and "shrink (threshold" in told.out
    assert own("export", "tiny", "--trial", "2").code == 0
    assert "shrink" in (place / "best.json").read_text()
    for command in (study, ["check", "best.json"], [*TRAIN, "--spec", "best.json"]):
        told = own(*command)
        assert told.code == 2 and "unknown kind 'shrink'" in told.err and told.err.endswith(f"{AGAIN}\n"), told.err
        assert "Traceback" not in told.err
    assert own(*study, "--blocks", "shrink.py").code == 0
    assert own(*TRAIN, "--spec", "best.json", "--blocks", "shrink.py").code == 0


def test_what_a_recorded_command_names() -> None:
    command = shlex.join(["archsearch", "study", "--blocks", "a b.py", "--space", "x", "--blocks=c.d", "--blocks", "a b.py"])
    assert modules_in(command) == ["a b.py", "c.d"]
    assert modules_in("") == modules_in("archsearch study --blocks") == modules_in("it's no command") == []
