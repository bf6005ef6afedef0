"""A comparison in words, tables, JSON and a picture, on invented runs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from rich.console import Console

from archsearch.assembler.parse import parse
from archsearch.evaluation.pairs import pairs
from archsearch.reporting.comparison import compare_json, level_rows, markdown, print_comparison, run_rows, summary
from archsearch.reporting.comparison_picture import PIXELS, save_comparison
from archsearch.search.comparison import Comparison, Written, plan

LEVELS = (8.0, 16.0, 32.0)
WHERE = {
    "machine": {"processor": "Ryzen", "accelerator": None},
    "precision": "float32",
    "activations": {"source": "bundled", "fingerprint": "f"},
}
COMMAND = "archsearch compare a b"


def row(seed: int, asked: float | None, l0: float, fvu: float, **changes: Any) -> dict[str, Any]:
    """Returns a measured run."""
    costs = {"parameters": 1234567, "flops": 4096, "seconds": 5.0, "steps": 20, "remark": ""}
    found = {"l0": l0, "fvu": fvu, "ce_recovered": 1 - fvu, "dead_frac": 0.01, "gamma": 1.0}
    return {"run": f"r{seed}", "split": "validate", "seed": seed, "asked": asked, **found, **costs, **changes}


def runs(factor: float, seeds: int = 3, off: float = 1.0) -> list[dict[str, Any]]:
    """Returns runs of one SAE over three L0s."""
    return [row(s, l0, l0 * off, factor * (1 + 0.002 * s * l0 / 8) * (l0 * off) ** -0.5) for s in range(seeds) for l0 in LEVELS]


def comparison(rows: Mapping[str, Sequence[dict[str, Any]]], seeds: int = 3) -> Comparison:
    """Returns what came of a comparison with these runs."""
    graph = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 8}, "decoder": "linear_decoder"}
    written = []
    for index, name in enumerate(rows):
        training = {"tokens": 640, "batch": 64, "optimizer": {"kind": "adam", "lr": 0.001 * (index + 1)}}
        document = {"width": 64, "graph": graph, "training": training}
        written.append(Written(name, f"{name}.yaml", document, parse, lambda error: error))
    return Comparison(plan(written, LEVELS, seeds, {}), rows, tuple(pairs(rows, LEVELS)))


GOOD = comparison({"a": runs(1.0), "b": runs(0.9, off=1.02), "c": runs(1.1)})
FAILED = [*runs(1.0)[:-1], {"run": "x", "split": "validate", "seed": 2, "asked": 32.0, "failure": "diverged"}]
CASES = {
    "good": GOOD,
    "one seed": comparison({"a": runs(1.0, 1), "b": runs(0.9, 1)}, seeds=1),
    "one failed": comparison({"a": runs(1.0), "b": FAILED}),
    "all failed": comparison({"a": runs(1.0), "b": [{"seed": s, "asked": l0, "failure": "no"} for s in range(3) for l0 in LEVELS]}),
    "far apart": comparison({"a": runs(1.0), "b": runs(1.0, off=30.0)}),
    "as written": comparison({"a": runs(1.0), "b": [row(s, None, 11.0 + s, 0.2) for s in range(3)]}),
    "no ce": comparison({"a": runs(1.0), "b": [{**r, "ce_recovered": None, "gamma": None} for r in runs(0.9)]}),
    "two wild seeds": comparison({"a": runs(1.0, 2), "b": [row(s, l0, l0, 0.5 if s else 1e-6) for s in range(2) for l0 in LEVELS]}, 2),
    "perfect": comparison({"a": runs(1.0), "b": [row(s, l0, l0, 0.0) for s in range(3) for l0 in LEVELS]}),
    "markup": comparison({"$a$ [x]": runs(1.0), "b | <c> " + "long " * 30: runs(0.9)}),
    "many": comparison({f"spec {n}": runs(1 + n / 10) for n in range(14)}),
}


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_printed_written_and_drawn(name: str, tmp_path: Path) -> None:
    found = CASES[name]
    told = compare_json(found, COMMAND, WHERE)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    text = markdown(found, COMMAND, WHERE)
    assert all(part in text for part in ("![FVU against effective L0](compare.png)", COMMAND, "Ryzen"))
    assert not any(word in text for word in ("nan", "inf,", "None"))
    out = io.StringIO()
    print_comparison(found, Console(file=out, width=80))
    assert all(line[:40] in out.getvalue() for line in summary(found))
    save_comparison(found, tmp_path / "compare.png")
    pixels = imread(tmp_path / "compare.png")
    assert pixels.shape[:2] == PIXELS[::-1] and (pixels[..., :3].min(-1) < 0.5).mean() > 0.01


def test_a_row_holds_difference_interval_and_verdict() -> None:
    rows = level_rows(GOOD.pairs[0], GOOD)
    assert [cells[0] for cells in rows] == ["8.2 (for 8)", "16", "32", "mean"]
    assert all(cells[1].startswith("-1") and cells[3] == "better" for cells in rows)
    assert "(" in rows[0][1] and rows[0][2].startswith("+0.0")
    assert [cells[3] for cells in level_rows(GOOD.pairs[1], GOOD)] == ["worse"] * 4


def test_what_is_missing_is_said_not_made_up() -> None:
    one, lost = CASES["one seed"], CASES["one failed"]
    assert all(cells[3] == "no verdict" and "(" not in cells[1] for cells in level_rows(one.pairs[0], one))
    assert level_rows(lost.pairs[0], lost)[2][3] == "no difference found, 2 seeds"
    assert lost.notes() == ["b at L0 32, seed 2 failed: diverged"]
    far = CASES["far apart"]
    assert level_rows(far.pairs[0], far) == [(l0, "-", "-", "not comparable") for l0 in ("8", "16", "32")]
    written = CASES["as written"]
    assert run_rows(written)[-1][1] == "32" and level_rows(written.pairs[0], written)[0][0] == "11 to 13"


def test_numbers_are_whole_at_eighty_columns() -> None:
    out = io.StringIO()
    print_comparison(GOOD, Console(file=out, width=80))
    for cells in level_rows(GOOD.pairs[0], GOOD):
        assert cells[1] in out.getvalue() and cells[2] in out.getvalue()
    assert all(len(line) <= 80 for line in out.getvalue().splitlines() if line.startswith(" "))


def test_json_holds_every_run_and_every_difference() -> None:
    told = compare_json(GOOD, COMMAND, WHERE)
    assert (told["format"], told["seeds"], told["levels"], told["split"]) == (
        "archsearch-compare-1",
        [0, 1, 2],
        [8.0, 16.0, 32.0],
        "validate",
    )
    assert [entry["name"] for entry in told["entries"]] == ["a", "b", "c"] and len(told["entries"][1]["rows"]) == 9
    pair = told["pairs"][0]
    assert (pair["reference"], pair["other"], pair["verdict"]) == ("a", "b", "better")
    assert pair["percent"] == pytest.approx(-10, abs=0.1) and set(pair["levels"][0]["differences"]) == {"0", "1", "2"}
