"""A study as a flat table: every column, and what becomes of NaN, null and nothing."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archsearch.errors import ArchsearchError
from archsearch.reporting.sheet import FIRST, LAST, MEASURED, as_csv, as_json, save_parquet, sheet
from archsearch.search.records import Climbed, StudyRecord
from tests.reporting.conftest import spec_of, study, trial

HOLES: list[dict[str, Any]] = [{}, {"gate": "relu", "lr": 0.1, "mixed": 1}, {"gate": None, "mixed": 'a, "b"\nc', "flag": True}]


def odd() -> StudyRecord:
    """A baseline, a trial with a NaN, one that fell behind, one that runs."""
    found = [
        trial(0, 8, 0.2, baseline="topk", params=HOLES[0]),
        trial(1, 9, math.nan, params=HOLES[1], measurements={"l0": 9.0, "fvu": math.nan, "rows": 5}),
        trial(2, 7, 0.1, params=HOLES[2], state="stopped", measurements={}, message="fell behind"),
        trial(3, 7, 0.1, state="running", measurements={}, copied_from=1),
    ]
    spec = {**found[2].spec, "training": {**found[2].spec["training"], "tokens": 1000}}
    found[2] = replace(found[2], spec=spec)
    return study(found, climbed=Climbed({2: {0.25: {"fvu": 0.5}, 0.5: {"fvu": 0.4}}}))


def test_columns_are_in_the_documented_order() -> None:
    columns = sheet(odd()).columns
    assert columns == (*FIRST, *MEASURED, "rows", "params.gate", "params.lr", "params.mixed", "params.flag", *LAST)


def test_csv_tells_nothing_null_and_nan_apart() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(sheet(odd())))))
    assert [row["params.gate"] for row in rows] == ["", "relu", "null", ""]
    assert [row["fvu"] for row in rows] == ["0.2", "nan", "", ""]
    assert rows[2]["params.mixed"] == HOLES[2]["mixed"] and rows[2]["params.flag"] == "true"
    assert [row["stopped_at"] for row in rows] == ["", "", "0.5", ""]
    assert [row["tokens"] for row in rows] == ["256000", "256000", "500", "0"]
    assert [(row["baseline"], row["copied_from"]) for row in rows] == [("topk", ""), ("", ""), ("", ""), ("", "1")]


def test_json_leaves_out_what_is_not_there() -> None:
    rows = json.loads(as_json(sheet(odd())))
    assert rows[1]["fvu"] is None and "fvu" not in rows[2]
    assert rows[2]["params.gate"] is None and "params.gate" not in rows[0]


def test_parquet_keeps_types_and_nan(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    save_parquet(sheet(odd()), tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    rows = table.to_pylist()
    assert math.isnan(rows[1]["fvu"]) and rows[2]["fvu"] is None
    assert [row["params.mixed"] for row in rows] == [None, "1", HOLES[2]["mixed"], None]
    assert [row["params.flag"] for row in rows] == [None, None, True, None]
    types = {"trial": "int64", "l0": "double", "front": "bool", "rows": "int64", "params.lr": "double", "message": "string"}
    assert {name: str(table.schema.field(name).type) for name in types} == types
    assert str(table.schema.field("dead_frac").type) == "double"


def test_settings_are_those_in_which_specs_differ() -> None:
    gates = [{"kind": "topk", "k": 8}, {"kind": "topk", "k": 16}, {"kind": "gated", "training": "straight_through"}]
    found = sheet(study([trial(n, 8, 0.1, spec=spec_of(gate)) for n, gate in enumerate(gates)]), with_settings=True)
    told = [{name: value for name, value in row.items() if name.startswith("spec.")} for row in found.rows]
    assert [row.get("spec.graph.gate.k") for row in told] == [8, 16, None]
    assert all(set(row) <= {"spec.graph.gate.k", "spec.graph.gate.kind", "spec.graph.gate.training"} for row in told)


def test_without_pyarrow_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", none)
    with pytest.raises(ArchsearchError, match="pip install pyarrow"):
        save_parquet(sheet(odd()), tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []
