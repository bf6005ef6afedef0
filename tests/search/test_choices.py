"""Which choices of an SAE are put back, and to what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from archsearch.errors import StudyError
from archsearch.search.choices import Change, changes_of
from archsearch.search.jobs import Draw
from archsearch.search.placing import Places, apart
from archsearch.search.records import StudyRecord, TrialRecord
from archsearch.search.swaps import swaps
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from tests.reporting.conftest import study, trial

SPACE = """
name: choices
activations: {source: synthetic, features: 48, model: 16, active: 3, rows: 1024, eval_rows: 256}
sae:
  width: 48
  graph:
    center: pre_bias
    encoder: {oneof: {plain: linear_encoder, deep: {kind: mlp_encoder, hidden: {int: [8, 32], log: true}}}}
    gate: relu
    decoder: {kind: linear_decoder, norm: {choice: [unit, free]}}
  training: {tokens: 640, batch: 32, optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}}}
variants:
  gate:
    oneof:
      relu: {losses.sparsity: {kind: l1, weight: 1.0}}
      topk: {graph.gate: topk}
      gated:
        graph.gate: {kind: gated, training: {choice: [frozen_decoder, straight_through]}}
        losses.sparsity: {kind: l1, of: gate.gate_code, weight: 2.0}
study: {trials: 4, sweep: {l0: [2, 4]}, band: [1, 16]}
"""
BASELINE = {
    "width": 48,
    "graph": {"center": "pre_bias", "encoder": "linear_encoder", "gate": {"kind": "topk", "k": 4}, "decoder": "linear_decoder"},
    "training": {"tokens": 640, "batch": 32, "optimizer": {"kind": "adam", "lr": 0.002}},
}
PICKS = {
    "gate": "gated",
    "gate@gated.graph.gate.training": "straight_through",
    "graph.encoder": "deep",
    "graph.encoder@deep.hidden": 16,
    "graph.decoder.norm": "unit",
    "training.optimizer.lr": 0.005,
    "target_l0": 4,
}


@pytest.fixture(scope="module")
def places() -> Places:
    return Places(Space.read(loads(SPACE)), 16)


def one(places: Places, number: int = 1, **picks: Any) -> TrialRecord:
    """Returns a trial of the space, filled with these picks in the place of the usual ones."""
    filled = places.space.fill(Draw(0, 0, {**PICKS, **picks}))
    return trial(number, 4, 0.1, spec=places.built(filled.document), params=filled.params)


def recorded(places: Places, *trials: TrialRecord, baseline: bool = True, space: dict[str, Any] | None = None) -> StudyRecord:
    first = [trial(0, 4.1, 0.2, baseline="topk", spec=places.built(BASELINE))] if baseline else []
    return study([*first, *trials], space=space or loads(SPACE).data, band=(1.0, 16.0))


def named(changes: list[Change]) -> list[str]:
    return sorted(change.name for change in changes)


@pytest.mark.parametrize("known", [True, False], ids=["asked", "evolved"])
def test_every_choice_that_is_not_the_baselines_is_put_back(places: Places, known: bool) -> None:
    mine = one(places) if known else replace(one(places), params={})
    reference, changes, notes = changes_of(recorded(places, mine), mine, 16)
    assert (reference, notes) == ("baseline topk (trial 0)", [])
    assert named(changes) == [
        "encoder.hidden 16 -> 256",
        "gate gated -> topk",
        "gate.training straight_through -> frozen_decoder",
        "graph.encoder deep -> plain",
        "optimizer.lr 0.005 -> 0.002",
    ]
    refused = [change for change in changes if change.document is None]
    assert [change.choice for change in refused] == ["encoder.hidden"] and "has a value that the space allows there" in refused[0].why


def test_a_change_changes_one_choice_alone(places: Places) -> None:
    mine = one(places)
    _, changes, _ = changes_of(recorded(places, mine), mine, 16)
    touched = {}
    for change in changes:
        if change.document is not None:
            touched[change.choice] = {path.rpartition(".")[0] for path in apart(places.built(change.document), mine.spec)}
    assert touched == {
        "gate": {"graph.gate", "losses.sparsity"},
        "gate.training": {"graph.gate"},
        "graph.encoder": {"graph.encoder"},
        "optimizer.lr": {"training.optimizer"},
    }


def test_what_is_as_the_baseline_has_it_stays(places: Places) -> None:
    mine = one(places, gate="topk", **{"graph.encoder": "plain", "training.optimizer.lr": 0.002})
    _, changes, _ = changes_of(recorded(places, mine), mine, 16)
    assert changes == []


def test_without_a_baseline_branches_go_back_to_the_plainest(places: Places) -> None:
    mine = one(places, **{"graph.encoder": "plain"})
    reference, changes, _ = changes_of(recorded(places, mine, baseline=False), mine, 16)
    assert reference == "the plainest branches of the space"
    assert "gate gated -> relu" in named(changes) and not any(change.choice == "optimizer.lr" for change in changes)


def test_an_sae_outside_the_space_loses_blocks_and_settings_one_by_one(places: Places) -> None:
    mine = one(places)
    spec = places.built({**mine.spec, "init": {**mine.spec["init"], "norm": 0.5}})
    mine = replace(mine, spec=spec, params={})
    _, changes, notes = changes_of(recorded(places, mine), mine, 16)
    assert "outside the space" in notes[0]
    wanted = {"graph.gate gated -> topk", "graph.encoder mlp_encoder -> linear_encoder", "losses.sparsity l1 -> nothing"}
    assert {*wanted, "init.norm 0.5 -> 1"} <= set(named(changes))


def test_a_space_that_cannot_be_read_is_told(places: Places) -> None:
    mine = one(places)
    _, changes, notes = changes_of(recorded(places, mine, space={"name": "lost"}), mine, 16)
    assert "cannot be read any more" in notes[0] and changes
    with pytest.raises(StudyError, match="nothing to put a choice back to"):
        changes_of(recorded(places, mine, baseline=False, space={"name": "lost"}), mine, 16)


def test_swaps_put_one_difference_back(places: Places) -> None:
    reference = places.built(BASELINE)
    other = {**BASELINE, "losses": {"extra": {"kind": "l1", "of": "gate.code", "weight": 0.1}}}
    found = {swap.path: swap for swap in swaps(reference, places.built(other))}
    assert list(found) == ["losses.extra"] and places.built(found["losses.extra"].document)["losses"]["extra"]["weight"] == 0.1
    back = {swap.path: swap for swap in swaps(places.built(other), reference)}
    assert apart(places.built(back["losses.extra"].document), reference) == []
    bare = {**BASELINE, "graph": {label: block for label, block in BASELINE["graph"].items() if label != "center"}}
    gone = {swap.path: swap for swap in swaps(reference, places.built(bare))}["graph.center"]
    assert apart(places.built(gone.document), places.built(bare)) == []
    assert places.built(gone.document)["graph"]["encoder"]["from"]["x"][0]["signal"] == "x"


def test_swaps_leave_the_specs_as_they_are(places: Places) -> None:
    mine, reference = one(places).spec, places.built(BASELINE)
    before = repr((mine, reference))
    list(swaps(mine, reference))
    assert repr((mine, reference)) == before
