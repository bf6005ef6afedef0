"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from archsearch.blocks.catalogue import catalogue

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "archsearch"
SOURCES = sorted(path for folder in ("archsearch", "tests", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py"))
MACHINERY = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ("blocks", "recipes")]

ORDINARY = {"add", "sae", "l0"}
"""Kinds that are also words of Python, of the design, or names of measurements, so that their spelling proves nothing."""

DEFAULTS = {("assembler/scopes.py", "squared_error")}
"""The one default the design gives by name: a spec without a reconstruction term gets the squared error."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_no_function_is_over_80_lines() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno <= 80, f"{path}: {node.name}"


def test_no_block_imports_another_block() -> None:
    shared = re.compile(r"^archsearch\.blocks\.(\w+\.)?_\w+$|^archsearch\.blocks\.(signals|views)$")
    for path in (PACKAGE / "blocks").rglob("*.py"):
        if path.parent == PACKAGE / "blocks":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archsearch.blocks"):
                assert shared.match(node.module or ""), f"{path} imports {node.module}"


def test_machinery_knows_no_block_by_name() -> None:
    kinds = set(catalogue().blocks) - ORDINARY
    for path in MACHINERY:
        place = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in kinds:
                assert (place, node.value) in DEFAULTS, f"{place}:{node.lineno} names the block {node.value!r}"


def test_every_block_says_where_it_comes_from() -> None:
    plumbing = {"input", "op", "schedule", "loss", "controller"}
    for kind, block in catalogue().blocks.items():
        assert block.paper is not None or block.slot in plumbing, kind


def test_two_blocks_of_one_kind_are_refused_and_both_named() -> None:
    blocks = catalogue().blocks
    first = next(iter(blocks.values()))
    twin = type("Twin", (first.__mro__[1],), {**vars(first), "__module__": "elsewhere", "__qualname__": "Twin"})
    with pytest.raises(TypeError, match=rf"{first.__qualname__}.*elsewhere\.Twin"):
        type(catalogue()).of([*blocks.values(), twin])
