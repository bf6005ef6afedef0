"""Splits are a function of a name; the corpus is what every installation has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archsearch.activations import SHARES, SPLITS, Document, read_documents, split_of, standard_library
from archsearch.activations.corpus import fingerprint
from archsearch.activations.windows import cut
from archsearch.errors import DataError


def test_splits_are_pinned():
    assert [split_of(name) for name in ("csv.py", "argparse.py", "wave.py", "ast.py")] == [
        "validate",
        "calibrate",
        "test",
        "train",
    ]


def test_shares_come_out():
    found = [split_of(str(number)) for number in range(20_000)]
    assert abs(sum(SHARES.values()) - 1) < 1e-12
    for split in SPLITS:
        assert abs(found.count(split) / len(found) - SHARES[split]) < 0.01


def test_document_keeps_its_split_when_its_text_or_others_change():
    assert Document("a.py", "x").split == Document("a.py", "y").split


def test_standard_library_reaches_every_split_and_leaves_tests_out():
    documents = standard_library()
    assert {document.split for document in documents} == set(SPLITS)
    names = {document.name for document in documents}
    assert "json/decoder.py" in names
    assert not any(set(name.split("/")) & {"test", "tests", "idlelib", "site-packages", "__pycache__"} for name in names)


def test_standard_library_without_sources_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="found none under"):
        standard_library(tmp_path)


def test_fingerprint_sees_names_and_texts_but_not_order():
    one, two = Document("a", "x"), Document("b", "y")
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert len({fingerprint([one]), fingerprint([two]), fingerprint([Document("a", "y")]), fingerprint([one, two])}) == 4


def test_documents_of_a_folder_a_file_and_lines(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.py").write_text("b = 1\r\n")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "c.png").write_bytes(b"\0")
    lines = tmp_path / "l.jsonl"
    lines.write_text(json.dumps({"text": "first"}) + "\n\n" + json.dumps({"text": "second"}) + "\n")
    found = read_documents(str(tmp_path), "text", 0)
    assert [(d.name, d.text) for d in found] == [
        ("a.txt", "one"),
        ("l.jsonl#1", "first"),
        ("l.jsonl#3", "second"),
        ("sub/b.py", "b = 1\n"),
    ]
    assert read_documents(str(lines), "text", 0) == found[1:3]


@pytest.mark.parametrize("line", ["{", "[1]", '{"other": "x"}', '{"text": 3}'])
def test_bad_lines_are_named(tmp_path: Path, line: str):
    (tmp_path / "l.jsonl").write_text(line)
    with pytest.raises(DataError, match=r"l.jsonl:1: .*'text'"):
        read_documents(str(tmp_path / "l.jsonl"), "text", 0)


def test_no_documents_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="at least one document"):
        read_documents(str(tmp_path), "text", 0)
    (tmp_path / "x.csv").write_text("a")
    with pytest.raises(DataError, match="must end in one of"):
        read_documents(str(tmp_path / "x.csv"), "text", 0)


def test_windows_hold_every_token_once_behind_bos():
    windows = cut([[1, 2, 3, 4, 5], [6]], context=4, bos=9, seed=0)
    held = sorted(row[:length].tolist() for row, length in zip(windows.tokens, windows.lengths, strict=True))
    assert held == [[9, 1, 2, 3], [9, 4, 5], [9, 6]]
    assert windows.num_rows == 6
    assert sorted(windows.tokens[windows.counted()].tolist()) == [1, 2, 3, 4, 5, 6]
    assert int(windows.predicted().sum()) == 6  # each token once, the first of a window from BOS
    assert sum(part.num_rows for part in windows.batches(2)) == 6


def test_windows_without_bos_count_the_first_position():
    windows = cut([[1, 2, 3, 4, 5]], context=4, bos=None, seed=0)
    assert windows.num_rows == 5 and int(windows.predicted().sum()) == 3
    assert windows.head(1).num_rows in (1, 4) and len(windows.head(1).tokens) == 1
    assert windows.head(5).num_rows == windows.head(99).num_rows == 5
