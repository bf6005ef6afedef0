"""Help, speed of help, and wrong usage."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import pytest

from archsearch.cli.options import COMMANDS, GROUPS
from tests.cli.conftest import Run

HELP_SECONDS = 0.5
HEAVY = ("torch", "optuna", "pydantic", "matplotlib", "plotly", "rich", "sqlalchemy", "numpy")

PROBE = """
import sys
from archsearch.cli.main import main
code = main(sys.argv[1:])
heavy = [name for name in {heavy!r} if name in sys.modules]
sys.exit(code if not heavy else f"imported {{heavy}}")
"""


def test_help_takes_less_than_half_a_second() -> None:
    spent = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "archsearch.cli.main", "--help"], check=True, capture_output=True)
        spent.append(time.perf_counter() - begun)
    assert statistics.median(spent) < HELP_SECONDS


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *[[name, "--help"] for name in COMMANDS]], ids=" ".join)
def test_no_help_imports_anything_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_groups_every_command(run: Run) -> None:
    told = run("--help")
    assert told.code == 0
    for group in GROUPS:
        assert f"{group}:" in told.out
    for name, command in COMMANDS.items():
        assert f"  {name} " in told.out and command.summary in told.out
    assert run().out == run("help").out == told.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_of_its_command(name: str, run: Run) -> None:
    told = run(name, "--help")
    assert told.code == 0
    assert f"example:\n  archsearch {name} " in told.out
    assert run("help", name).out == told.out


def test_the_version_is_told(run: Run) -> None:
    told = run("--version")
    assert told.code == 0 and told.out.startswith("archsearch ")


WRONG = {
    "a command": (["stduy"], "unknown command 'stduy'; did you mean 'study'?"),
    "an option before the command": (["--space", "x"], "unknown option '--space'"),
    "an option, though a needed one is missing too": (["study", "--spcae", "x"], "unknown option '--spcae'; did you mean '--space'?"),
    "an option with =": (["study", "--space", "x", "--trails=3"], "unknown option '--trails'; did you mean '--trials'?"),
    "an abbreviation": (["study", "--spa", "x"], "unknown option '--spa'; did you mean '--space'?"),
    "nothing where something is needed": (["study"], "required: --space"),
    "a choice": (["study", "--space", "x", "--executor", "stack"], "invalid choice: 'stack'"),
    "a count of zero": (["study", "--space", "x", "--trials", "0"], "must be a whole number above zero; got '0'"),
    "a word for a count": (["train", "--spec", "x", "--tokens", "many"], "must be a whole number above zero; got 'many'"),
    "a negative seed": (["study", "--space", "x", "--seed=-1"], "must be a whole number, zero or more; got '-1'"),
    "two ways to choose": (["export", "x", "--best", "2", "--trial", "3"], "not allowed with"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_one_line_and_exit_code_2(name: str, run: Run) -> None:
    arguments, message = WRONG[name]
    told = run(*arguments)
    assert told.code == 2
    assert message in told.err
    assert told.out == "" and len(told.err.splitlines()) == 1
