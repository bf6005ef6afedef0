"""What a comparison trains, and what it refuses, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archsearch.activations import open_activations
from archsearch.assembler.parse import parse
from archsearch.errors import InvalidInput
from archsearch.recipes import names, recipe
from archsearch.search.comparison import Comparison, Plan, Written, plan, run
from archsearch.search.replicates import Replicates
from archsearch.spec.activations import SyntheticSource
from archsearch.training.looped import Looped

GRAPH = {"center": "pre_bias", "encoder": "linear_encoder", "gate": {"kind": "topk", "k": 3}, "decoder": "linear_decoder"}
LEVELS = (2.0, 4.0)


def spec(gate: Any = None, **changes: Any) -> dict[str, Any]:
    graph = {**GRAPH, "gate": gate or GRAPH["gate"]}
    return {"width": 48, "graph": graph, "training": {"tokens": 640, "batch": 32}, **changes}


def written(name: str, document: dict[str, Any]) -> Written:
    return Written(name, f"{name}.yaml", document, parse, lambda error: error)


def planned(seeds: int = 2, **documents: Any) -> Plan:
    return plan([written(name, document) for name, document in documents.items()], LEVELS, seeds, {})


STEERED = spec("relu", losses={"sparsity": {"kind": "l1", "weight": 1.0}})
PLAIN = spec("relu")


@pytest.fixture(scope="module")
def activations() -> Any:
    source = {"source": "synthetic", "features": 48, "model": 16, "active": 3, "rows": 1024, "eval_rows": 256}
    return open_activations(SyntheticSource.model_validate(source), device="cpu")


def replicates(path: Path, activations: Any) -> Replicates:
    return Replicates(path / "runs.jsonl", activations, "cpu", Looped(), "float32")


def test_every_spec_gets_the_same_l0s_seeds_and_order_of_rows() -> None:
    found = planned(a=spec(), b=STEERED)
    assert list(found.keys()) == [
        f"{name} at L0 {level}, seed {seed}" for seed in (0, 1) for level in (2, 4) for name in ("a", "b")
    ]  # seeds whole, in pairs
    for entry, level, seed in found.keys().values():
        document = parse(entry.at(level, seed))
        assert (document.training.seed, document.training.data_seed) == (seed, seed)
    assert parse(found.entries[0].at(4.0, 0)).graph["gate"].k == 4
    assert parse(found.entries[1].at(4.0, 0)).controller.l0 == 4


def test_words_say_what_is_asked_and_what_differs() -> None:
    found = planned(a=spec(), b=STEERED)
    assert found.entries[0].words.startswith("topk (k as asked)")
    told = found.differences()
    assert told["a"].startswith("topk (k as asked)") and told["b"].startswith("relu, l1 1")
    assert "width" not in told["a"]


@pytest.mark.parametrize("name", names())
def test_every_recipe_can_be_asked_for_an_l0(name: str) -> None:
    found = plan([written(name, recipe(name))], (8.0, 16.0), 1, {"width": 64, "tokens": 64_000, "batch": 64})
    assert found.entries[0].levels == (8.0, 16.0) and "as asked" in found.entries[0].words


def test_a_spec_that_cannot_be_asked_is_trained_as_written() -> None:
    found = planned(a=spec(), b=PLAIN)
    entry = found.entries[1]
    assert entry.levels == (None,) and "no gate keeps a count" in entry.why
    assert [key for key in found.keys() if key.startswith("b")] == ["b, seed 0", "b, seed 1"]  # noqa: SIM118 (not a mapping)
    assert found.notes() == [f"b is trained as written, and compared at its own L0 only: {entry.why}"]


def test_changes_are_made_to_every_spec() -> None:
    found = plan([written("a", spec()), written("b", STEERED)], LEVELS, 1, {"width": 64, "tokens": 1280, "batch": 64})
    for entry in found.entries:
        told = parse(entry.at(2.0, 0))
        assert (told.width, told.training.tokens, told.training.batch) == (64, 1280, 64)


def test_other_batches_are_said() -> None:
    (note,) = planned(a=spec(), b={**STEERED, "training": {"tokens": 640, "batch": 64}}).notes()
    assert note.startswith("batches differ") and "a takes 20 steps of 32 rows, b takes 10 steps of 64 rows" in note


REFUSED = {
    "other tokens": (
        {"a": spec(), "b": spec(training={"tokens": 320, "batch": 32})},
        "got a 640, b 320; give one number for all with --tokens",
    ),
    "an unknown key": ({"a": spec(), "b": spec(widht=3)}, "widht"),
    "training that is no mapping": ({"a": spec(), "b": spec(training=3)}, "training"),
    "some of the l0s out of reach": ({"a": spec(), "b": spec(width=3)}, "must be at most the number of latents (3); got 4"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused(name: str) -> None:
    documents, message = REFUSED[name]
    with pytest.raises(InvalidInput) as caught:
        planned(**documents)
    assert message in str(caught.value)


def test_two_names_of_one_sae_are_refused(tmp_path: Path, activations: Any) -> None:
    other = spec({"k": 7, "kind": "topk"})  # another count, but the count is what is asked for
    with pytest.raises(InvalidInput, match="a and b are the same SAE"):
        run(planned(a=spec(), b=other), replicates(tmp_path, activations))
    assert not (tmp_path / "runs.jsonl").exists()


def test_what_cannot_be_assembled_is_refused_with_its_place(tmp_path: Path, activations: Any) -> None:
    late = spec(losses={"dead": {"kind": "aux_k", "dead_after_frac": 0.001}})
    with pytest.raises(InvalidInput, match=r"dead_after_frac.*less than one step"):
        run(planned(a=spec(), b=late), replicates(tmp_path, activations))
    assert not (tmp_path / "runs.jsonl").exists()


def test_runs_are_judged_and_runs_that_failed_are_noted(tmp_path: Path, activations: Any) -> None:
    wild = spec(training={"tokens": 640, "batch": 32, "optimizer": {"kind": "adam", "lr": 1e30}})
    better = spec(training={"tokens": 640, "batch": 32, "optimizer": {"kind": "adam", "lr": 0.01}})
    found = run(planned(a=spec(), wild=wild, better=better), replicates(tmp_path, activations))
    assert isinstance(found, Comparison) and [len(rows) for rows in found.rows.values()] == [4, 4, 4]
    assert {(row["seed"], row["asked"]) for row in found.rows["a"]} == {(seed, level) for seed in (0, 1) for level in LEVELS}
    assert [pair.other for pair in found.pairs] == ["wild", "better"]
    assert found.pairs[0].overall.verdict == "not comparable"
    assert found.pairs[1].overall.percent is not None and found.pairs[1].overall.percent < 0
    assert [note.split(":")[0] for note in found.notes()] == ["wild at L0 2, seeds 0, 1 failed", "wild at L0 4, seeds 0, 1 failed"]
