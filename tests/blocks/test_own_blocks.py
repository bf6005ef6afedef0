"""Blocks from outside the package: named by a user, or brought along by an installed distribution; and how one joins the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import built_in, catalogue, own_blocks, use_blocks
from archsearch.blocks.gates._base import Gate
from archsearch.errors import InvalidInput
from archsearch.spec.block import StepSpec

ROOT = Path(__file__).parents[2]
WALK = {match[1]: match[2] for match in re.finditer(r"^```python (\S+)\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)}
"""The files of the walk-through by their paths."""

BLOCK = WALK["archsearch/blocks/gates/shrink.py"]
SPEC = {
    "width": 8,
    "graph": {"encoder": "linear_encoder", "gate": {"kind": "shrink", "threshold": 0.2}, "decoder": "linear_decoder"},
}

CHECKED = """
import sys
import pytest
failed = pytest.main(sys.argv[1:])
if failed:
    sys.exit(failed)
from archsearch.blocks.catalogue import catalogue
from tests.blocks.harness import base, grown
document = base(tokens=32, schedule={"kind": "warmup_decay", "decay_frac": 0.5})
document["graph"]["gate"] = {"kind": "shrink", "threshold": 0.2}
member = grown(document)
print(catalogue()["shrink"].__module__, member.total_steps, member.failure)
"""


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty current folder, and afterwards the catalogue, the path and the modules as before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    with own_blocks():
        yield
    for name in set(sys.modules) - before:
        if name.startswith(("mine", "_own_blocks")):
            del sys.modules[name]


def python(*arguments: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with a folder on its path, in the current folder."""
    variables = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", "ARCHSEARCH_NO_INSTALLED_BLOCKS": "0"}
    return subprocess.run([sys.executable, *arguments], env=variables | environment, capture_output=True, text=True)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# The walk-through of CONTRIBUTING.md.


def test_the_walk_through_is_two_files_and_passes_every_contract(tmp_path: Path) -> None:
    """In a copy of the tree, with the block and its test written to the paths the walk-through names, and nothing else touched."""
    skipped = shutil.ignore_patterns("__pycache__", "bundled", Path(__file__).name)
    for folder in ("archsearch", "tests/blocks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skipped)
    for file in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    assert len(WALK) == 2 and "shrink" not in built_in().blocks
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    for name, text in WALK.items():
        (tmp_path / name).write_text(text)
    contract = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "tests" / "blocks").glob("test_contract*.py"))
    # One process, and no plugin it can do without: what takes its time is imports.
    without = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--assert=plain")
    told = python("-c", CHECKED, *(name for name in WALK if "test_" in name), *contract, "-k", "shrink", *without, path=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    passed = re.search(r"(\d+) passed", told.stdout)
    assert passed is not None and int(passed[1]) > 12
    after = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    assert {name for name in after if after[name] != before.get(name)} == set(WALK)
    assert told.stdout.split()[-3:] == ["archsearch.blocks.gates.shrink", "2", "None"], "trained two steps"


def test_the_same_file_is_a_module_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "shrink.py").write_text(BLOCK)
    use_blocks("shrink.py")
    assert catalogue()["shrink"].slot == "gate"
    assert catalogue().foreign["shrink"]["from"] == "shrink.py" and len(catalogue().foreign["shrink"]["sha256"]) == 64
    sae = assemble(parse(SPEC), model=4).sae
    assert "threshold" in {name.rpartition(".")[2] for name, _ in sae.named_buffers()}


# Modules, packages, files and classes.


def test_a_module_of_the_current_folder_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine_by_name.py").write_text(BLOCK)
    with own_blocks("mine_by_name"):
        assert catalogue().foreign["shrink"]["from"] == "module mine_by_name"
    assert "shrink" not in catalogue().blocks


def test_a_package_is_walked_and_what_it_imports_is_not_its_own(tmp_path: Path) -> None:
    inner = tmp_path / "mine_package" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "mine_package" / "__init__.py").write_text("from archsearch.blocks.gates.topk import TopK\n")
    (tmp_path / "mine_package" / "__main__.py").write_text("raise SystemExit('run')\n")
    (inner / "__init__.py").write_text("from mine_package.inner.gates import Shrink\n")
    (inner / "gates.py").write_text(BLOCK)
    with own_blocks("mine_package"):
        assert set(catalogue().foreign) == {"shrink"}


def test_a_file_never_stands_in_for_a_library_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "helper_of_mine.py").write_text("AMOUNT = 0.3\n")
    text = BLOCK.replace('"""Shrinking gate."""', "from helper_of_mine import AMOUNT").replace("Field(0.1", "Field(AMOUNT")
    (tmp_path / "random.py").write_text(text)
    use_blocks(tmp_path / "random.py")
    assert catalogue()["shrink"].Spec().threshold == 0.3
    assert sys.modules["random"].randint(1, 1) == 1


def test_a_file_named_again_takes_its_earlier_place(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BLOCK)
    use_blocks("mine.py")
    (tmp_path / "mine.py").write_text(BLOCK.replace("Field(0.1", "Field(0.7"))
    use_blocks("mine.py")
    assert catalogue()["shrink"].Spec().threshold == 0.7


def _gate(name: str, kind: str, **more: object) -> type[Gate]:
    spec = type("Spec", (StepSpec,), {"__annotations__": {"kind": Literal[kind]}, "kind": kind})
    body = {"__doc__": "Does nothing.", "Spec": spec, "paper": None, "forward": lambda self, pre: {"code": pre}, **more}
    return type(name, (Gate,), body)


def test_classes_join_and_one_defined_anew_takes_its_earlier_place() -> None:
    first, second = _gate("Plain", "plain_one"), _gate("Plain", "plain_one")
    use_blocks(first)
    use_blocks(second)
    assert catalogue()["plain_one"] is second
    with pytest.raises(InvalidInput, match="not abstract; got Gate"):
        use_blocks(Gate)


def test_a_kind_of_the_package_cannot_be_taken() -> None:
    with pytest.raises(InvalidInput, match=r"Thief: kind 'topk' is defined already: by TopK of archsearch itself"):
        use_blocks(_gate("Thief", "topk"))
    with pytest.raises(InvalidInput, match="must not set `default_kind`"):
        use_blocks(_gate("Default", "default_gate", default_kind="default_gate"))
    with pytest.raises(InvalidInput, match=r"`sparsity` must name a setting; got 'q'"):
        use_blocks(_gate("Sparse", "sparse_gate", sparsity="q"))
    assert catalogue().foreign == {}


STEP = "from archsearch.blocks._block import StepBlock\n"
BROKEN = {
    "a syntax error": ("\nclass Shrink(:\n", r"^mine\.py:2: SyntaxError: invalid syntax"),
    "a module that is not there": ("import torch\nimport nosuch\n", r"^mine\.py:2: ModuleNotFoundError: No module named 'nosuch'"),
    "a name that is not there": (BLOCK.replace("import Gate", "import Gaet"), r"^mine\.py:9: ImportError: cannot import name 'Gaet'"),
    "an error of any kind": ("def f():\n    1 / 0\nf()\n", r"^mine\.py:2: ZeroDivisionError: division by zero"),
    "a program": ("import sys\nsys.exit(3)\n", r"^mine\.py:2: must be importable; it ends the process instead \(SystemExit: 3\)"),
    "no block": ("import torch\n", r"^mine\.py: defines no block"),
    "no Spec": (
        BLOCK.replace("class Spec(", "class Other(").replace("spec: Spec", "spec: Other"),
        r"^mine\.py:\d+: Shrink: a block must define `Spec`$",
    ),
    "no paper": (BLOCK.replace("    paper = ", "    title = "), r"^mine\.py:\d+: Shrink: a block must define `paper`$"),
    "no description": (BLOCK.replace(", description=", ", title="), r"fields without a description: \['threshold'\]"),
    "no kind": (BLOCK.replace('Literal["shrink"] = "shrink"', "str"), r"`kind` must be a Literal with itself as default"),
    "a kind that is any text": (BLOCK.replace('Literal["shrink"]', "str"), r"^mine\.py:\d+: Shrink\.Spec: `kind` must be a Literal"),
    "a kind that is taken": (BLOCK.replace('"shrink"', '"relu"'), r"^mine\.py:\d+: Shrink: kind 'relu' is defined already: by ReLU of"),
    "no contract": (STEP + BLOCK.replace("(Gate)", "(StepBlock)"), r"Shrink: must derive from the contract of its slot.*; got slot ''"),
    "a slot of its own": (
        BLOCK.replace("    class Spec", '    slot = "shrinker"\n\n    class Spec'),
        r"and keep it .*; got slot 'shrinker'",
    ),
    "settings of another moment": (BLOCK.replace("StepSpec", "BlockSpec"), r"Shrink\.Spec: must derive from StepSpec"),
    "no forward": (BLOCK.replace("def forward", "def step"), r"Shrink: must define `forward`"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_one_problem_with_its_place(name: str, tmp_path: Path) -> None:
    text, message = BROKEN[name]
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InvalidInput) as told:
        use_blocks("mine.py")
    assert len(told.value.problems) == 1 and "\n" not in str(told.value)
    assert re.search(message, str(told.value)), str(told.value)
    assert catalogue().foreign == {}
    with pytest.raises(InvalidInput, match="module mine"):
        use_blocks("mine")


def test_what_is_not_there_is_said_and_all_sources_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as told:
        use_blocks("nosuch.blocks", "nosuch.py", str(tmp_path), "what is this?")
    first, second, third, fourth = map(str, told.value.problems)
    assert "no module 'nosuch', neither installed nor in the current directory" in first
    assert second == "nosuch.py: no such file"
    assert "must be a .py file; a package is named as a module" in third
    assert "got 'what is this?'" in fourth


# Installed distributions.

SHOW = "from archsearch.blocks.catalogue import catalogue; print(catalogue().foreign)"
CHECK = ("-m", "archsearch", "blocks", "relu")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed distribution that declares its blocks as docs/blocks.md says."""
    declared = re.search(r"^```toml\n(.*?)^```", (ROOT / "docs" / "blocks.md").read_text(), re.M | re.S)
    assert declared is not None
    points = tomllib.loads(declared[1])["project"]["entry-points"]
    info, package = tmp_path / "site" / "shrinkage-1.2.dist-info", tmp_path / "site" / "my_package"
    info.mkdir(parents=True)
    package.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shrinkage\nVersion: 1.2\n")
    lines = [line for group, named in points.items() for line in (f"[{group}]", *(f"{name} = {value}" for name, value in named.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (package / "__init__.py").write_text("")
    (package / "my_blocks.py").write_text(BLOCK)
    return tmp_path / "site"


def test_an_installed_distribution_brings_its_blocks(site: Path) -> None:
    told = python("-c", SHOW, path=site)
    assert "'shrink': {'from': 'shrinkage 1.2 (entry point mine, module my_package.my_blocks)'" in told.stdout, told.stderr
    assert python("-c", SHOW, path=site, ARCHSEARCH_NO_INSTALLED_BLOCKS="1").stdout == "{}\n"
    named_too = python("-m", "archsearch", "blocks", "shrink", "--blocks", "my_package.my_blocks", path=site)
    assert named_too.returncode == 0, named_too.stderr


def test_a_broken_distribution_is_named_with_a_way_on(site: Path) -> None:
    way = "; mend or uninstall shrinkage 1.2, or set ARCHSEARCH_NO_INSTALLED_BLOCKS=1 to go on without installed blocks"
    for text, what in (
        (f"import nosuch\n{BLOCK}", "No module named 'nosuch'"),
        (BLOCK.replace('"shrink"', '"relu"'), "kind 'relu' is defined"),
    ):
        (site / "my_package" / "my_blocks.py").write_text(text)
        told = python(*CHECK, path=site)
        assert told.returncode == 2 and told.stdout == ""
        assert len(told.stderr.splitlines()) == 1 and "Traceback" not in told.stderr
        assert "shrinkage 1.2 (entry point mine, module my_package.my_blocks)" in told.stderr and what in told.stderr
        assert told.stderr.rstrip().endswith(way)
    assert python("-m", "archsearch", "--help", path=site).returncode == 0
