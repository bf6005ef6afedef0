"""Who is confirmed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.errors import StudyError
from archsearch.recipes import recipe
from archsearch.search.contenders import asked, contenders_of, fresh_seeds, reseeded
from archsearch.search.records import StudyRecord, TrialRecord
from tests.reporting.conftest import study, trial

LEVELS = (8.0, 16.0, 32.0)


def gate(kind: str, **settings: Any) -> dict[str, Any]:
    """Returns a spec with this gate."""
    graph = {"encoder": {"kind": "linear_encoder"}, "gate": {"kind": kind, **settings}, "decoder": {"kind": "linear_decoder"}}
    return {"width": 64, "graph": graph, "losses": {}, "training": {"tokens": 640, "batch": 64, "seed": 0, "data_seed": 0}}


def invented(asks: list[tuple[str | None, float]], **changes: Any) -> StudyRecord:
    """Returns a study with these asks: name of the baseline, and FVU times the square root of L0."""
    trials: list[TrialRecord] = []
    for ask, (baseline, height) in enumerate(asks):
        for level, l0 in enumerate(LEVELS):
            told = {"ask": ask, "level": level, "baseline": baseline, "spec": gate("topk", k=int(l0))}
            words = f"topk (k {l0:g}), lr {ask}, width 64"
            trials.append(trial(len(trials), l0, height / math.sqrt(l0), words=words, **told))
    return study(trials, **changes)


def test_candidates_are_structures_with_a_member_on_the_front_and_bring_all_their_levels() -> None:
    record = invented([("topk", 1.0), (None, 1.2), (None, 0.9)])
    found = contenders_of(record, best=3)
    assert [(one.ask, one.name) for one in found.candidates] == [(2, "topk, lr 2, width 64")]
    assert [one.number for one in found.candidates[0].trials] == [6, 7, 8]
    assert [(one.name, one.ask, one.baseline) for one in found.baselines] == [("topk", 0, True)]
    assert found.candidates[0].improvement == pytest.approx(-math.log(0.9))


def test_names_are_their_own_and_no_baselines() -> None:
    record = invented([("topk", 1.0), (None, 0.9), (None, 0.8)])
    alike = [
        trial(n, 8.0 * (n - 9), 0.2 / (n - 9), baseline=None, ask=n, words=f"topk (k {n}), width 64", spec=gate("topk", k=3))
        for n in (10, 11)
    ]
    found = contenders_of(study([*record.trials[:3], *alike]), 3)
    assert sorted(one.name for one in found.candidates) == ["topk (k 10)", "topk (k 11)"]
    same = [trial(n, 8.0 * (n - 9), 0.2 / (n - 9), ask=n, words="topk", spec=gate("topk", k=3)) for n in (10, 11)]
    found = contenders_of(study([*record.trials[:3], *same]), 3)
    assert sorted(one.name for one in found.candidates) == ["topk (trial 10)", "topk (trial 11)"]


def test_a_level_that_failed_or_was_stopped_is_trained_again_too() -> None:
    record = invented([("topk", 1.0), (None, 0.9)])
    for number, state in ((4, "failed"), (5, "stopped")):
        record.trials[number] = trial(number, 1, 1, ask=1, level=number - 3, state=state, measurements={}, spec=gate("topk", k=4))
    assert [one.number for one in contenders_of(record, 1).candidates[0].trials] == [3, 4, 5]


def test_the_best_are_those_furthest_below_the_baselines_and_the_others_are_named() -> None:
    record = invented([("topk", 1.0), (None, 0.97), (None, 0.9), (None, 0.95)])
    trials = [t for t in record.trials if t.ask != 2 or t.level == 0]  # the best at one L0 only, so that all are on the front
    trials = [t for t in trials if t.ask != 3 or t.level < 2]
    found = contenders_of(study(trials), best=2)
    assert [one.ask for one in found.candidates] == [2, 3] and [one.ask for one in found.left_out] == [1]


def test_beyond_a_baseline_only_what_is_added_counts() -> None:
    # At L0 4 only a poor baseline reaches: whoever stands there would look best of all.
    trials = [
        *[trial(n, l0, 3 / math.sqrt(l0), baseline="poor", ask=0, level=n) for n, l0 in enumerate((4.0, 8.0, 32.0))],
        *[trial(3 + n, l0, 1 / math.sqrt(l0), baseline="good", ask=1, level=n) for n, l0 in enumerate((8.0, 16.0, 32.0))],
        trial(6, 4.0, 0.5, ask=2, level=0),
        trial(7, 16.0, 0.24, ask=3, level=0),
    ]
    found = contenders_of(study(trials), best=2).candidates
    assert [one.ask for one in found] == [3, 2]
    assert found[0].improvement == pytest.approx(math.log(0.25 / 0.24)) and found[1].improvement is None and found[1].gain > 0


def test_of_a_baselines_asks_the_best_tuned_stands_for_it() -> None:
    record = invented([("topk", 1.1), ("topk", 1.0), ("topk", 1.2), ("relu", 2.0), (None, 0.9)])
    assert {one.name: one.ask for one in contenders_of(record, 1).baselines} == {"topk": 1, "relu": 3}


def test_tuning_is_judged_where_all_asks_reach() -> None:
    # The first is better where both are measured; its further level, a high FVU at L0 2, is nobody else's business.
    trials = [
        *[trial(n, l0, fvu, baseline="b", ask=0, level=n) for n, (l0, fvu) in enumerate([(2.0, 0.9), (8.0, 0.3), (32.0, 0.1)])],
        *[trial(3 + n, l0, fvu, baseline="b", ask=1, level=n) for n, (l0, fvu) in enumerate([(8.0, 0.31), (32.0, 0.11)])],
        trial(5, 16.0, 0.1, ask=2),
    ]
    assert contenders_of(study(trials), 1).baselines[0].ask == 0


def test_a_study_without_baselines_or_front_is_refused_with_what_to_do() -> None:
    with pytest.raises(StudyError, match=r"has no baselines.*baselines: \[topk, relu_l1\]"):
        contenders_of(invented([(None, 1.0)]), 3)
    failed = study([trial(0, 8, 0.1, baseline="topk", state="failed", measurements={}), trial(1, 8, 0.1)])
    with pytest.raises(StudyError, match="none of its baselines was finished"):
        contenders_of(failed, 3)
    for record in (invented([("topk", 0.5), (None, 1.0)]), invented([("topk", 1.0), (None, 0.5)], band=(100.0, 200.0))):
        with pytest.raises(StudyError, match="no structure of the search stands on the front"):
            contenders_of(record, 3)


def test_a_baseline_that_never_finished_is_said_to_be_left_out() -> None:
    record = invented([("topk", 1.0), (None, 0.9)])
    record.trials.append(trial(9, 8, 0.1, ask=9, baseline="lost", state="failed", measurements={}))
    assert contenders_of(record, 1).remarks == ("baseline lost is left out: none of its trials was finished",)


def test_seeds_are_fresh_the_same_every_time_and_more_begin_with_the_fewer() -> None:
    record = invented([("topk", 1.0), (None, 0.9)])
    five = fresh_seeds(record, 5)
    assert len(set(five)) == 5 and fresh_seeds(record, 8)[:5] == five and 0 not in five
    used = invented([("topk", 1.0)])
    for number, seed in enumerate(five[:3]):
        used.trials[number].spec["training"] |= {"seed": seed} if number else {"data_seed": seed}
    assert not set(five[:3]) & set(fresh_seeds(used, 5)) and fresh_seeds(used, 2) == five[3:]


def test_a_seed_sets_first_weights_and_order_of_rows_and_changes_nothing_else() -> None:
    spec = gate("topk", k=8)
    found = reseeded(spec, 7)
    assert found["training"] == {**spec["training"], "seed": 7, "data_seed": 7} and spec["training"]["seed"] == 0
    assert {**found, "training": spec["training"]} == spec
    assert reseeded(spec, 7, tokens=99)["training"]["tokens"] == 99


def test_at_another_width_nested_saes_keep_their_share_and_counts_stay() -> None:
    nested = {"kind": "sae", "width": 16, "graph": gate("topk", k=3)["graph"]}
    spec = {**gate("topk", k=8), "graph": {"coarse": nested, "fine": {**nested, "width": 48}}}
    found = reseeded(spec, 1, width=128)
    assert found["width"] == 128
    assert [block["width"] for block in found["graph"].values()] == [32, 96]
    assert found["graph"]["coarse"]["graph"]["gate"]["k"] == 3


@pytest.mark.parametrize(
    ("changes", "l0"),
    [
        ({"controller": {"kind": "l0_controller", "l0": 12.0}}, 12.0),
        ({"graph": gate("topk", k=9)["graph"]}, 9.0),
        ({"losses": {"sparsity": {"kind": "l0_quadratic", "target": 5.0}}}, 5.0),
        ({}, None),
    ],
)
def test_the_l0_asked_for_is_read_from_whatever_holds_it(changes: dict[str, Any], l0: float | None) -> None:
    assert asked({**gate("relu"), **changes}) == l0


def test_a_gate_that_only_makes_another_ones_pre_activations_adds_nothing_to_the_l0_asked_for() -> None:
    spec = resolved(assemble(parse(recipe("lista_batch_topk")), model=8, device="meta"))
    assert asked(spec) == spec["graph"]["gate"]["k"] == spec["graph"]["first"]["k"]
