"""`results`: a study that really ran, as CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from archsearch.search.ledger import read_study
from tests.cli.conftest import Run


def test_csv_goes_to_the_standard_output_and_nothing_else_does(there: Path, run: Run) -> None:
    told = run("results", "tiny")
    rows = list(csv.DictReader(io.StringIO(told.out)))
    record = read_study(there / "studies/tiny")
    assert (told.code, told.err, len(rows)) == (0, "", len(record.trials))
    for row, trial in zip(rows, record.trials, strict=True):
        assert (int(row["trial"]), row["state"], row["run"]) == (trial.number, "complete", trial.run)
        assert float(row["fvu"]) == trial.measurements["fvu"]  # every digit
        assert int(row["tokens"]) == 3200
    searched = [row for row in rows if not row["baseline"]]
    assert all(2 <= int(row["params.graph.gate.k"]) <= 16 for row in searched)
    assert all(row["params.graph.gate.k"] == "" for row in rows if row["baseline"])


def test_only_the_front(there: Path, run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("results", "tiny", "--front").out)))
    members = [member["trial"] for member in json.loads((there / "studies/tiny/front.json").read_text())["front"]]
    assert sorted(int(row["trial"]) for row in rows) == sorted(members) and {row["front"] for row in rows} == {"true"}


def test_settings_are_told_of_baselines_too(there: Path, run: Run) -> None:
    rows = json.loads(run("results", "tiny", "--format", "json", "--settings").out)
    assert all(isinstance(row["spec.graph.gate.k"], int) and isinstance(row["spec.training.optimizer.lr"], float) for row in rows)
    assert not any("spec.width" in row for row in rows)  # the same in all


def test_a_file_is_written_in_the_format_of_its_ending(there: Path, run: Run, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("out.csv", "out.json", "out.parquet"):
        told = run("results", "tiny", "--out", tmp_path / name)
        assert told.code == 0 and told.out.startswith(f"{tmp_path / name}: 6 trials, ")
    assert (tmp_path / "out.csv").read_text() == run("results", "tiny").out
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["trial"] for row in rows] == [row["trial"] for row in json.loads((tmp_path / "out.json").read_text())]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["tinny"], 2, "no study 'tinny'"),
        (["tiny", "--format", "parquet"], 2, "name one with --out"),
        (["tiny", "--out", "none/out.csv"], 2, "there is no folder 'none'"),
        (["tiny", "--format", "xml"], 2, "invalid choice: 'xml'"),
    ],
)
def test_what_cannot_be_written_is_refused(options: list[str], code: int, said: str, there: Path, run: Run) -> None:
    told = run("results", *options)
    assert (told.code, told.out) == (code, "") and said in told.err
