"""Differences of plain data, leaf by leaf."""

from __future__ import annotations

from archsearch.spec.differences import NOTHING, differences, leaves


def test_leaves_are_paths_and_values() -> None:
    assert dict(leaves({"a": {"b": 1, "c": []}, "d": {}, "e": [{"f": 1}]})) == {"a.b": 1, "a.c": [], "d": {}, "e": [{"f": 1}]}


def test_every_path_that_differs_is_told_once() -> None:
    found = differences({"a": 1, "b": {"c": 2}, "same": [1]}, {"a": True, "b": {"d": None}, "same": [1]})
    assert [(one.path, one.here, one.there) for one in found] == [("a", 1, True), ("b.c", 2, NOTHING), ("b.d", NOTHING, None)]
    assert str(found[1]) == "b.c: 2 -> nothing" and str(differences({"x": "a"}, {"x": "b"})[0]) == "x: 'a' -> 'b'"


def test_whole_numbers_equal_floats() -> None:
    assert differences({"lr": 1}, {"lr": 1.0}) == []
