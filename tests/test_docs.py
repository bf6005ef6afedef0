"""Every fenced example of the documentation runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from archsearch.assembler.build import assemble
from archsearch.assembler.check import check_space
from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import own_blocks
from archsearch.cli.options import COMMANDS, parser_of
from archsearch.recipes import names, recipe
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "studies").rglob("README.md")),
]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.M | re.S)


def examples(language: str) -> list:
    """Returns every fenced example of a language with its place."""
    found = []
    for page in PAGES:
        for match in FENCE.finditer(page.read_text()):
            # A fence with a path is a file; `tests/blocks/test_own_blocks.py` writes it there and runs it.
            if match[1] == language and not re.search(r"no-test|\.py\b", match[2]):
                line = page.read_text()[: match.start()].count("\n") + 1
                found.append(pytest.param(match[3], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.mark.parametrize("text", examples("yaml"))
def test_yaml_examples_are_legal(text: str) -> None:
    document = loads(text)
    if "sae" in document.data:
        check_space(Space.read(document), model=64, recipes={name: recipe(name) for name in names()})
    else:
        data = {"width": 1024, **document.data}
        assemble(parse(data), model=64, device="meta")


@pytest.mark.parametrize("text", examples("python"))
def test_python_examples_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with own_blocks():  # what an example adds to the catalogue goes with it
        exec(compile(text, "<example>", "exec", dont_inherit=True), {"__name__": "example"})


@pytest.mark.parametrize("text", examples("sh"))
def test_commands_parse_as_written(text: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "archsearch":
            assert words[1] in COMMANDS, line
            parser_of(words[1]).parse_strictly(words[2:])
        elif words and words[0] == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
            assert words[1] in targets, line
