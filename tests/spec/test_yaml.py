"""Files become plain data with lines; what is not plain is refused at its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.errors import InvalidInput, Problem
from archsearch.spec.yaml import dump, load, loads, located

TEXT = """\
name: small
sae:
  graph: {gate: topk}
  at: [1, 2.5]
variants:
  gate:
    oneof:
      topk:
        graph.gate: {kind: topk}
"""


def message(text: str, **options: bool) -> str:
    with pytest.raises(InvalidInput) as caught:
        loads(text, file="a.yaml", **options)
    return str(caught.value)


def test_every_entry_has_its_line():
    document = loads(TEXT)
    assert document.data["sae"] == {"graph": {"gate": "topk"}, "at": [1, 2.5]}
    assert document.marks[("sae", "graph", "gate")] == 3
    assert document.marks[("sae", "at", 1)] == 4
    assert document.marks[("variants", "gate", "oneof", "topk", "graph.gate", "kind")] == 9


def test_scalars_mean_what_yaml_1_2_says():
    text = "{a: 1e-4, b: no, c: 'no', d: 0x1F, e: ~, f: 1_000, g: 2026-01-01, h: True, i: .5, j: 1., k: -3, l: '1'}"
    expected = {"a": 1e-4, "b": "no", "c": "no", "d": 31, "e": None, "f": "1_000", "g": "2026-01-01"}
    assert loads(text).data == expected | {"h": True, "i": 0.5, "j": 1.0, "k": -3, "l": "1"}
    assert isinstance(loads("a: 1e3").data["a"], float)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' is given twice (first on line 1)"),
        ("a: 1\nb: [1\n", 3, "not valid YAML"),
        ("a: 1\nb:\n\tc: 2\n", 3, "indent with spaces"),
        ("a: !!python/object:os.system ls\n", 1, "tags are not read here"),
        ("a: 1\nb: !mine {c: 1}\n", 2, "take '!mine' out"),
        ("a: &x 1\nb: *x\n", 1, "anchors and aliases"),
        ("- 1\n", 1, "must be a mapping"),
        ("just words\n", 1, "got 'just words'"),
        ("", 1, "got nothing"),
        ("# only a comment\n", 1, "got nothing"),
        ("a: 1\nb: .nan\n", 2, "numbers must be finite; got '.nan'"),
        ("a: 1\n3: 2\n", 2, "write it in quotes: '3'"),
        ("a: 1\n---\nb: 2\n", 2, "one document"),
    ],
)
def test_what_is_not_plain_is_refused_at_its_line(text: str, line: int, said: str):
    found = message(text)
    assert f"a.yaml:{line}" in found and said in found


def test_all_problems_come_at_once():
    found = message("a: !x 1\nb: &y 2\na: 3\n")
    assert [part.split(" ")[0] for part in found.splitlines()] == ["a.yaml:1", "a.yaml:2", "a.yaml:3"]


def test_deep_nesting_is_refused_not_followed():
    assert "nested deeper" in message("a: " + "[" * 5000)


def test_json_is_strict_by_name_and_keeps_lines(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{\n\t"a": {"b": [1, 2e-3, "x\\/y"]},\n\t"c": null\n}')
    document = load(path)
    assert document.data == {"a": {"b": [1, 0.002, "x/y"]}, "c": None}
    assert document.marks[("a", "b", 2)] == 2 and document.marks[("c",)] == 3
    path.write_text('{\n"a": 1,\n}')
    with pytest.raises(InvalidInput, match=r"a\.json:[23]: not valid JSON"):
        load(path)
    path.write_text('{"a": 1,\n"a": 2}')
    with pytest.raises(InvalidInput, match=r"a\.json:2 -> a: the key 'a' is given twice"):
        load(path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"none\.yaml: no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(InvalidInput, match="UTF-8"):
        load(tmp_path / "b.yaml")


def test_a_problem_gets_the_line_of_the_longest_part_of_its_path_in_the_file():
    document = loads(TEXT)
    problems = [Problem("a", "graph.gate.k"), Problem("b", "nowhere.at.all"), Problem("c")]
    found = located(problems, document.marks, "a.yaml", prefix="sae")
    assert [str(p) for p in found] == [
        "a.yaml:3 -> sae.graph.gate.k: a",
        "a.yaml:2 -> sae.nowhere.at.all: b",
        "a.yaml:2 -> sae: c",
    ]
    inside = located([Problem("d", "variants.gate.oneof.topk.graph.gate.k")], document.marks, "a.yaml")
    assert str(inside[0]).startswith("a.yaml:9 ")


def test_dump_is_block_style_with_short_leaves_on_one_line():
    data = {"name": "a b", "graph": {"gate": {"kind": "topk", "k": 3}, "no": "1e3"}, "empty": {}, "list": [{"a": [1]}]}
    assert dump(data) == ('name: a b\ngraph:\n  gate: {kind: topk, k: 3}\n  no: "1e3"\nempty: {}\nlist:\n  -\n    a: [1]\n')


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["1e5", ".5", "no", "null", "a: b", "- x", "a #b"])
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=10)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(words, trees, max_size=4))
def test_what_is_dumped_loads_again(data):
    document = loads(dump(data))
    assert document.data == data
    assert repr(document.data) == repr(data)  # 1 and 1.0 are told apart, and the order of keys is kept
