"""What a report says of a study, on numbers small enough to follow by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from archsearch.errors import StudyError
from archsearch.reporting.report.bands import band_results, octaves
from archsearch.reporting.report.confirmed import FILE, read_confirmed, seed_points
from archsearch.reporting.report.data import Report, gather
from archsearch.reporting.report.embed import payload
from archsearch.reporting.report.methods import methods, references, repeat_commands
from archsearch.reporting.report.tables import confirm_tables, cost_table, remark_table, worth_table
from archsearch.reporting.report.verdict import caution, confirmed_sentences, found_sentences, signed, told_sentences
from archsearch.reporting.report.volume import volumes
from archsearch.reporting.report.worth import Cell, worth
from archsearch.search.records import Climbed, StudyRecord
from tests.reporting.conftest import spec_of, study, trial
from tests.reporting.report_studies import confirmed, large

GATED = spec_of({"kind": "gated"})
BATCH = spec_of({"kind": "batch_topk", "k": 8})


def small() -> StudyRecord:
    """Baseline `a` from L0 4 to 32 at FVU 1.6 / L0; gated 20% below it at L0 8, batch_topk 25% above it there; one trial beyond it."""
    return study(
        [
            trial(0, 4, 0.4, baseline="a"),
            trial(1, 32, 0.05, baseline="a"),
            trial(2, 8, 0.16, spec=GATED, params={"gate": "gated", "fast": True}),
            trial(3, 8, 0.25, spec=BATCH, params={"gate": "batch", "fast": True}),
            trial(4, 8, 0.22, spec=GATED, params={"gate": "gated", "fast": False}),
            trial(5, 50, 0.02, spec=BATCH, params={"gate": "batch", "fast": False}),
            trial(6, 5, 0.1, state="failed", measurements={}, message="not finite", spec=GATED, params={"gate": "gated", "fast": True}),
        ]
    )


def told(record: StudyRecord, folder: Path = Path("studies/small")) -> Report:
    """Returns the report of a record."""
    return gather(record, folder)


@pytest.mark.parametrize(
    ("band", "pieces"),
    [
        ((4, 64), [(4, 8), (8, 16), (16, 32), (32, 64)]),
        ((4, 80), [(4, 8), (8, 16), (16, 32), (32, 80)]),
        ((5, 7), [(5, 7)]),
        ((0.5, 2.5), [(0.5, 1), (1, 2.5)]),
    ],
)
def test_a_band_is_cut_at_powers_of_two(band: tuple[float, float], pieces: list[tuple[float, float]]) -> None:
    assert octaves(band) == pieces


def test_each_band_names_the_best_family_against_the_best_baseline() -> None:
    record = small()
    first, second, _, last = band_results(record, told(record).family_of)
    assert (first.tried, first.best) == (0, ())
    assert [(place.family, place.trial.number) for place in second.best] == [("gated", 2), ("batch_topk", 3)]
    assert [place.versus.percent for place in second.best] == pytest.approx([-20.0, 25.0])
    assert [t.number for t in last.alone] == [5]


def test_the_verdict_is_said_in_numbers() -> None:
    sentences = found_sentences(told(small()))
    assert sentences == [
        "L0 4 to 8: no SAE of the search ended here.",
        "L0 8 to 16: gated comes lowest, 20.0% lower FVU than a, the best baseline there (0.1600 against 0.2000 at L0 8.0, trial 2);"
        " next batch_topk, +25.0%.",
        "L0 16 to 32: no SAE of the search ended here.",
        "L0 32 to 64: 1 SAE of the search, beyond every baseline's curve; the lowest reaches FVU 0.0200 at L0 50.0 (trial 5).",
        "Of 4 front members, 2 come from the search and 2 are baselines.",
    ]


def test_a_search_that_loses_and_one_that_is_level_are_called_so() -> None:
    base = [trial(0, 4, 0.4, baseline="a"), trial(1, 32, 0.05, baseline="a")]
    assert (
        "the search does not beat the baselines; topk comes nearest, 25.0% higher"
        in found_sentences(told(study([*base, trial(2, 8, 0.25)])))[1]
    )
    assert "L0 8 to 16: topk is level with a" in found_sentences(told(study([*base, trial(2, 8, 0.2)])))[1]
    assert (signed(-0.04), signed(0.04), signed(-0.06)) == ("0.0%", "0.0%", "-0.1%")


def test_one_seed_is_not_believed_before_it_is_confirmed(tmp_path: Path) -> None:
    assert "one seed" in caution(told(small())) and "`archsearch confirm small`" in caution(told(small()))
    (tmp_path / "confirm").mkdir()
    (tmp_path / FILE).write_text(json.dumps(confirmed()))
    found = told(small(), tmp_path)
    assert "believe the confirmation" in caution(found)
    gain = "; FVU against the nearest of them is lower by 8.3% at L0 8 to 16"
    assert confirmed_sentences(found)[0] == f"gated: better than every baseline that reaches there at L0 8 to 16{gain}"
    assert told_sentences(found) == ["gated: better than every baseline at L0 8 to 16", "adds 0.1 to the hypervolume"]
    assert not any("archsearch confirm" in line for line in repeat_commands(found))


def test_the_hypervolume_grows_with_the_tokens_trained() -> None:
    found = volumes(small())
    assert found.tokens == [256_000 * n for n in range(1, 7)]
    assert found.reached == sorted(found.reached)
    # Two steps: FVU 0.4 from L0 4, 0.05 from 32 to 64.
    assert found.baselines == pytest.approx(3 * 0.6 + 1 * 0.95)
    assert found.reached[1] == pytest.approx(found.baselines) and found.baseline_tokens == 512_000
    assert found.reached[2] == pytest.approx(1 * 0.6 + 2 * 0.84 + 1 * 0.95)


def test_only_what_was_trained_counts_as_tokens() -> None:
    history = [(100, {"reconstruction": 1.0})]
    record = study(
        [
            trial(0, 8, 0.3),
            trial(1, 8, 0.3, copied_from=0),
            trial(2, 8, 0.3, state="failed", measurements={}, history=history),
            trial(3, 8, 0.3, state="stopped", measurements={}),
            trial(4, 8, 0.3, state="running", measurements={}),
        ],
        climbed=Climbed({3: {0.25: {"l0": 8.0, "fvu": 0.5}}}),
    )
    report = told(record)
    assert report.costs[-1].tokens == 256_000 + 100 * 256 + 64_000
    assert report.costs[-1].trained == 3
    assert volumes(record).tokens == [256_000, 256_000]


def test_options_are_held_against_the_best_baseline_at_their_l0() -> None:
    found = worth(small())
    gate = next(choice for choice in found.choices if choice.name == "gate")
    assert [option.name for option in gate.options] == ["batch", "gated"]
    gated = gate.options[1]
    assert gated.count == 3  # the failed one was tried too
    assert gated.cells[1] == Cell(pytest.approx(-20.0), pytest.approx(-5.0), 2, 2, 2)
    assert gate.options[0].cells[3] == Cell(None, None, None, 0, 1)
    table = worth_table(told(small()), gate)
    assert table.rows[1].cells == ("gated", "3", "-", "-20.0% / -5.0% (2)", "-", "-")
    assert table.rows[0].cells[-1] == "no reference (1)"
    fast = next(choice for choice in found.choices if choice.name == "fast")
    assert [option.name for option in fast.options] == ["false", "true"]


def test_without_baselines_options_are_held_against_the_front() -> None:
    record = study([trial(0, 8, 0.2, params={"a": "x"}), trial(1, 8, 0.3, params={"a": "y"})])
    found = worth(record)
    assert found.reference == "the study's own front at the same L0"
    assert [option.cells[1].best for option in found.choices[0].options] == pytest.approx([0.0, 50.0])


def test_choices_come_from_the_space_with_the_branch_they_are_in() -> None:
    choices = {choice.name: choice for choice in worth(large(60)).choices}
    assert list(choices) == ["gate", "gate@gated.graph.gate.training", "training.optimizer.beta1"]
    assert choices["gate@gated.graph.gate.training"].only == "gate is gated"
    assert [option.name for option in choices["gate"].options] == ["gated", "jumprelu", "topk"]
    assert [option.name for option in choices["training.optimizer.beta1"].options] == ["0.0", "0.9"]
    assert [option.count for option in choices["gate@gated.graph.gate.training"].options] == [0, 0]  # in the space, never tried


def test_architectures_are_drawn_once_each() -> None:
    report = told(large(120))
    assert sum(len(one.trials) for one in report.architectures) == len(report.front)
    assert len({one.diagram.shape() for one in report.architectures}) == len(report.architectures)


def test_costs_add_up() -> None:
    report = told(large(60))
    *parts, whole = report.costs
    assert [part.name for part in parts[:2]] == ["baseline matryoshka_batch_topk", "baseline topk"]
    assert whole.trained == sum(part.trained for part in parts) == 60
    assert whole.tokens == sum(part.tokens for part in parts) == 59 * 256_000 + 150 * 256
    assert whole.flops == pytest.approx(59 * 256_000 * 262_144 * 3)
    assert cost_table(report).rows[-1].cells[0] == "all"


def test_failures_with_one_message_share_a_row() -> None:
    (row,) = remark_table(told(large(100))).rows
    assert row.cells == ("40, 81", "failed", "the loss is not finite after 120 steps")


def test_the_method_tells_data_training_search_and_measurements() -> None:
    text = " ".join(methods(replace(told(large(60)), settings={"sampler": "tpe", "seed": 7})))
    for part in (
        "blocks.1.hook_out of the bundled language model",
        "width 512",
        "256,000 tokens in batches of 256",
        "adam (lr 0.00",
        "tree-structured Parzen estimator",
        "sampler seed 7",
        "4 sparsity levels",
        "16,384 validate rows",
        "trained once (one seed)",
    ):
        assert part in text
    assert "CE recovered" not in text  # nobody measured it


def test_references_are_the_papers_of_the_blocks_used() -> None:
    found = {one.url: one.text for one in references(told(large(60)))}
    assert "topk: section 2.3" in found["https://arxiv.org/abs/2406.04093"]
    assert "https://arxiv.org/abs/2503.17547" in found
    assert len(found) == len(set(found))


def test_a_confirmation_becomes_a_table_and_points() -> None:
    (table,) = confirm_tables(confirmed())
    assert table.heads == ("candidate", "L0 8 to 16", "L0 16 to 32")
    assert [row.cells for row in table.rows] == [("gated", "-8.3% (-9.0% to -7.6%): better", "not comparable")]
    points = seed_points(confirmed()["contenders"][0])
    assert list(points) == [1, 2, 3] and len(points[1]) == 3  # the run that failed has no point


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "archsearch-confirm-9"}', '{"format": "archsearch-confirm-1", "bands": []}'])
def test_a_damaged_confirmation_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "confirm").mkdir()
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StudyError, match=r"confirm.json: must .*move the file away"):
        read_confirmed(tmp_path)


HARD = {
    "empty": study([]),
    "nothing on the front": study([trial(0, 200, 0.1)]),
    "one trial": study([trial(0, 8, 0.1)]),
    "not finite": study([trial(0, 8, math.nan), trial(1, math.inf, 0.1), trial(2, 8, 0.2, history=[(5, {"reconstruction": math.nan})])]),
    "nothing on": study([trial(0, 0, 1.0)]),
    "perfect": study([trial(0, 8, 0.0), trial(1, 8, 0.0, baseline="a")]),
    "running": study([trial(0, 8, 0.1, state="running", measurements={})], stopped="", provenance={}, command="", question=""),
    "only baselines": study([trial(0, 8, 0.1, baseline="a")]),
    "many families": study([trial(n, 4 + n, 0.5 / (n + 1), baseline=f"recipe {n}") for n in range(30)]),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_studies_are_reported_too(name: str) -> None:
    report = told(HARD[name])
    json.dumps(payload(report), allow_nan=False)
    assert found_sentences(report) and methods(report)


def test_series_keep_their_place_and_an_absolute_folder_its_path(tmp_path: Path) -> None:
    report = told(small(), tmp_path)
    assert report.names == ["a", "batch_topk", "gated"]
    assert report.index_of(report.record.trials[2]) == 2
    assert report.study == str(tmp_path)
    assert (told(small(), Path("studies/x")).study, told(small(), Path("other/x")).study) == ("x", "other/x")
