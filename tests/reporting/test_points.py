"""Points on the front: shown as what they are, wherever the front is."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from archsearch.reporting.figures import save_png
from archsearch.reporting.front import baseline_curves, front_json, front_rows
from archsearch.reporting.live import display
from archsearch.reporting.page import save_page
from archsearch.reporting.picture import picture
from archsearch.reporting.report.data import gather
from archsearch.reporting.report.embed import payload
from archsearch.reporting.report.legend import front_legend
from archsearch.reporting.report.markdown import save_markdown
from archsearch.reporting.report.methods import repeat_commands
from archsearch.reporting.report.page import page
from archsearch.reporting.report.volume import volumes
from archsearch.reporting.sheet import as_csv, save_parquet, sheet
from archsearch.reporting.table import cells, print_front, summary
from archsearch.search.records import Point, Status, StudyRecord, TrialRecord, whole_front
from tests.reporting.conftest import study, trial


def cut(l0: float, fvu: float, asked: float, of: TrialRecord) -> Point:
    """Returns a point with these measurements."""
    spec = {**of.spec, "calibration": {"kind": "remove_lowest", "l0": asked, "share": None, "per": "all"}}
    return Point(asked, spec, f"{of.run}-{asked:g}", {"l0": l0, "fvu": fvu, "dead_frac": 0.5})


def pointed(trial: TrialRecord, *points: tuple[float, float, float]) -> TrialRecord:
    """Returns a trial with points: L0, FVU and the L0 asked for."""
    return replace(trial, points=tuple(cut(l0, fvu, asked, trial) for l0, fvu, asked in points))


@pytest.fixture
def record() -> StudyRecord:
    """A baseline and two trials; a point of the second takes the place of the first, another is dominated, one lies below the band."""
    trials = [
        pointed(trial(0, 34, 0.20, baseline="tuned"), (15, 0.30, 15)),
        trial(1, 9, 0.40),
        pointed(trial(2, 32, 0.10), (3, 0.9, 3), (8, 0.35, 8), (16, 0.31, 16)),
    ]
    return study(trials)


def test_the_table_marks_points(record: StudyRecord) -> None:
    rows = front_rows(record)
    assert [row.label for row in rows] == ["2 cut to L0 8", "0 cut to L0 15", "2"]
    assert [(row.trial, row.cut_to, row.fvu) for row in rows] == [(2, 8, 0.35), (0, 15, 0.30), (2, None, 0.10)]
    assert cells(rows[0])[0] == "2 cut to L0 8" and cells(rows[1])[-1] == "baseline"
    console = Console(width=120, record=True, file=io.StringIO())
    print_front(record, console)
    assert "2 cut to L0 8" in console.export_text()
    text = summary(record)
    assert "| 2 cut to L0 8 |" in text and "Of 3 front members, 2 were cut to their L0 after training." in text


def test_a_baselines_points_belong_to_its_curve(record: StudyRecord) -> None:
    assert [one.label for one in baseline_curves(record)["tuned"]] == ["0 cut to L0 15", "0"]


def test_front_json_has_spec_and_parent(record: StudyRecord) -> None:
    told = json.loads(json.dumps(front_json(record), allow_nan=False))
    point, _, whole = told["front"]
    assert (point["trial"], point["cut_from"], point["cut_to"]) == (2, 2, 8)
    assert point["spec"]["calibration"]["l0"] == 8 and point["run"] == "r2-8" and point["measurements"]["fvu"] == 0.35
    assert "cut_from" not in whole and "calibration" not in whole["spec"] and whole["trial"] == 2
    assert [step.get("cut_to") for step in told["baselines"]["tuned"]] == [15, None]
    assert told["trials"] == {"complete": 3, "outside_band": 0}


def test_results_have_a_row_for_each_point(record: StudyRecord, tmp_path: Path) -> None:
    table = sheet(record)
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [(row["trial"], row["cut_from"], row["cut_to"]) for row in rows] == [
        ("0", "", ""), ("0", "0", "15"), ("1", "", ""), ("2", "", ""), ("2", "2", "3"), ("2", "2", "8"), ("2", "2", "16"),
    ]  # fmt: skip
    assert [row["front"] for row in rows] == ["false", "true", "false", "true", "false", "true", "false"]
    assert [row["tokens"] for row in rows] == ["256000", "0", "256000", "256000", "0", "0", "0"]
    assert [row.get("cut_to") for row in sheet(record, only_front=True).rows] == [15, None, 8]
    told = [row.get("spec.calibration.l0") for row in sheet(record, with_settings=True).rows]
    assert told == [None, 15, None, None, 3, 8, 16]
    parquet = pytest.importorskip("pyarrow.parquet")
    save_parquet(table, tmp_path / "out.parquet")
    schema = parquet.read_table(tmp_path / "out.parquet").schema
    assert str(schema.field("cut_from").type) == "int64" and str(schema.field("cut_to").type) == "double"


def test_without_points_there_are_no_columns_of_them(busy: StudyRecord) -> None:
    assert not {"cut_from", "cut_to"} & set(sheet(busy).columns)
    assert "cut_" not in json.dumps(front_json(busy)) and "cut to" not in summary(busy)


def test_pictures_draw_points_hollow(record: StudyRecord, tmp_path: Path) -> None:
    shown = picture(record)
    assert {series.name: [one.label for one in series.trials] for series in shown.cut} == {
        "tuned": ["0 cut to L0 15"],
        shown.family_of[2]: ["2 cut to L0 3", "2 cut to L0 8", "2 cut to L0 16"],
    }
    assert [one.label for one in shown.front] == ["2 cut to L0 8", "0 cut to L0 15", "2"]
    save_png(record, tmp_path / "with.png")
    save_png(replace(record, trials=[replace(one, points=()) for one in record.trials]), tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()
    save_page(record, tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text()
    assert "trial 2 cut to L0 8" in text and '"white"' in text


def test_the_live_display_names_them(record: StudyRecord) -> None:
    members = tuple(whole_front(record.trials, record.band))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(display(Status("training", 1, 3, front=members), 100, 40))
    lines = [line for line in console.export_text().splitlines() if "cut to L0" in line]
    assert len(lines) == 2 and "0.3500" in lines[0] and lines[0].endswith(", cut to L0 8")


def test_hypervolume_counts_them(record: StudyRecord) -> None:
    without = replace(record, trials=[replace(one, points=()) for one in record.trials])
    here, there = volumes(record), volumes(without)
    assert here.tokens == there.tokens and here.reached[-1] > there.reached[-1]
    assert here.baselines is not None and there.baselines is not None and here.baselines > there.baselines


@pytest.fixture
def whole(record: StudyRecord) -> Any:
    space = {"name": "gated", "study": {"points": {"l0": [3, 8, 16]}}}
    return gather(replace(record, space=space), Path("studies/gated"), {})


def test_the_report_shows_them(whole: Any, tmp_path: Path) -> None:
    text = page(whole)
    for said in ("2 cut to L0 8", "r2-8", "were cut to their L0 after training", "well above effective L0 3, 8 and 16 was also cut"):
        assert said in text, said
    written = save_markdown(whole, tmp_path / "report").read_text()
    assert "| 2 cut to L0 8 |" in written and "2 were cut to their L0 after training" in written


def test_the_report_says_how_to_repeat_the_best_though_it_is_a_point() -> None:
    best = pointed(trial(1, 32, 0.19), (16, 0.20, 16))
    found = gather(study([trial(0, 16, 0.29, baseline="tuned"), trial(2, 34, 0.2, baseline="tuned"), best]), Path("studies/gated"))
    assert "archsearch export gated --trial 1 --cut 16 --out best.json" in repeat_commands(found)


def test_the_script_finds_each_by_a_key_of_its_own(whole: Any) -> None:
    told = payload(whole)
    keys = [one["n"] for one in told["trials"]]
    assert keys == [0, "0 cut to L0 15", 1, 2, "2 cut to L0 3", "2 cut to L0 8", "2 cut to L0 16"]
    assert told["front"] == ["2 cut to L0 8", "0 cut to L0 15", 2] and told["curves"] == {"tuned": ["0 cut to L0 15", 0]}
    assert not any(one["inside"] or one["terms"] for one in told["trials"] if isinstance(one["n"], str))
    assert [one["n"] for one in told["trials"] if one["cut"]] == [key for key in keys if isinstance(key, str)]


def test_the_legend_says_what_hollow_members_are_where_there_are_any(whole: Any) -> None:
    assert "cut after training" in front_legend(whole)
    assert "cut after training" not in front_legend(gather(study([trial(0, 16, 0.29)]), Path("studies/gated"), {}))
