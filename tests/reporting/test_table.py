"""Tables and the files of a study's folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from archsearch.reporting.front import front_rows
from archsearch.reporting.results import write_results, write_whole
from archsearch.reporting.table import cells, print_front, remarks, summary, tally
from archsearch.search.records import StudyRecord
from tests.reporting.conftest import study, trial


def printed(record: StudyRecord, width: int) -> str:
    out = io.StringIO()
    print_front(record, Console(file=out, width=width))
    return out.getvalue()


def test_a_row_says_everything_the_study_promised() -> None:
    record = study([trial(0, 4, 0.4, baseline="a"), trial(1, 16, 0.2, baseline="a"), trial(2, 8, 0.27, words="mine [x]")])
    rows = {row.trial: cells(row) for row in front_rows(record)}
    assert rows[2] == ("2", "mine [x]", "8.0", "0.2700", "0.730", "2.0%", "-4.5% a")
    assert rows[0] == ("0", "baseline a: topk (k 4)", "4.0", "0.4000", "0.600", "0.0%", "baseline")


def test_what_nobody_measured_is_a_dash() -> None:
    (row,) = front_rows(study([trial(0, 8, 0.1, measurements={"l0": 8.0, "fvu": 0.1})]))
    assert cells(row)[4:] == ("-", "-", "none there")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_numbers_are_whole_and_markup_is_text_at_any_width(width: int) -> None:
    text = printed(study([trial(0, 8, 0.1234, words="sae 256 [topk (k 8)]")]), width)
    assert "0.1234" in text and "[topk" in text
    assert all(len(line) <= width for line in text.splitlines())


def test_an_empty_front_says_why() -> None:
    record = study([trial(0, 200, 0.1), trial(1, 8, 0.1, state="failed", measurements={})])
    assert "no finished trial lies in the band (L0 4 to 64): 1 complete (1 outside the band), 1 failed" in printed(record, 200)
    assert tally(study([])) == "no trial yet"


def test_the_summary_holds_question_command_seconds_and_machine() -> None:
    record = study([trial(0, 8, 0.3, words="a | b\n<c>")], provenance={"machine": {"processor": "Ryzen", "accelerator": None}})
    text = summary(record)
    for part in (record.question, record.command, "201 s", "processor Ryzen", "![The front](front.png)"):
        assert part in text
    assert "None" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| 0 ")]
    assert row == "| 0 | a \\| b &lt;c> | 8.0 | 0.3000 | 0.700 | 0.0% | none there |"


def test_results_are_four_whole_files(busy: StudyRecord, tmp_path: Path) -> None:
    written = write_results(busy, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["front.html", "front.json", "front.png", "summary.md"]
    assert all(path.stat().st_size > 1000 for path in written)
    assert json.loads((tmp_path / "new" / "front.json").read_text())["study"] == "gated"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    path.write_text("before")

    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_front_member_that_is_a_baseline_is_called_so() -> None:
    record = study([trial(0, 8, 0.3, baseline="topk")])
    assert [cells(row)[-1] for row in front_rows(record)] == ["baseline"]


def test_a_branch_that_gave_no_trial_is_told() -> None:
    refused = ("branch gate@x: every draw was refused (3 in all), the last because k must | divide",)
    record = study([trial(0, 8, 0.3)], refused=refused)
    assert remarks(record) == list(refused)
    assert "\nBranch gate@x: every draw was refused (3 in all), the last because k must \\| divide.\n" in summary(record)
