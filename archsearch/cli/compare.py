"""`compare`: brings SAE specs to the same L0s over seeds, and says which rebuilds better."""

from __future__ import annotations

import json
import re
import shlex
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from archsearch.activations.preflight import check_inputs, given_names
from archsearch.assembler.parse import parse
from archsearch.cli.harvest import open_with_progress
from archsearch.cli.inputs import machine_of, output_folder, read_activations, read_spec, recorded_in
from archsearch.errors import InvalidInput, Problem, StudyError, nearest
from archsearch.recipes import names as recipes
from archsearch.recipes import recipe
from archsearch.reporting.comparison import compare_json, markdown, print_comparison
from archsearch.reporting.comparison_picture import save_comparison
from archsearch.reporting.front import plain
from archsearch.reporting.live import watch
from archsearch.reporting.results import write_json, write_whole
from archsearch.search.comparison import Comparison, Plan, Written, plan, run
from archsearch.search.lock import only_one
from archsearch.search.provenance import provenance
from archsearch.search.replicates import Replicates
from archsearch.spec.inputs import bound
from archsearch.training.memory import keep_memory

OUT = Path("compare")
RESULT = "compare.json"

BUSY = "another process is comparing there; wait for it, or choose another folder with --out"


def compare(args: Namespace) -> int:
    """Compares SAE specs with the first named.

    Raises:
        InvalidInput: a spec is not legal, or there is nothing to compare.
        StudyError: the folder holds another comparison, or another process is at work in it.
        Interrupted: the user stopped it; the same command goes on.
    """
    changes = {name: value for name in ("width", "tokens", "batch") if (value := getattr(args, name)) is not None}
    machine, source = machine_of(args.device, args.executor, args.precision), read_activations(args.activations)
    names = given_names(source) or ()
    written = [replace(spec, document=bound(spec.document, names)) for spec in _written(args.specs)]
    planned = plan(written, args.l0, args.seeds, changes)
    for entry in planned.entries:
        _inputs(entry.written, source)
    folder = output_folder(args.out or OUT / "-".join(_file_name(entry.name) for entry in planned.entries))
    activations = open_with_progress(source, machine.device)
    where = provenance(activations, machine.device, machine.precision, machine.executor.name)
    _prepare(folder, planned, where)
    keep_memory()
    with only_one(folder, BUSY), watch(Console(stderr=True)) as observe:
        path = folder / "runs.jsonl"
        replicates = Replicates(path, activations, machine.device, machine.executor, machine.precision, observe=observe)
        found = run(planned, replicates)
    _report(found, folder, where, args.json)
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the first of the files that says one."""
    return next((told for name in args.specs if (told := recorded_in(Path(name)))), "")


def _written(given: list[str]) -> list[Written]:
    """Returns the specs named on the command line.

    Raises:
        InvalidInput: fewer than two, one that is neither a file nor a recipe, or a file that holds none.
    """
    if len(given) < 2:
        raise InvalidInput([f"compare needs two or more specs, the first being the reference; got {given!r}"])
    if len(set(given)) < len(given):
        raise InvalidInput([f"each spec may be named once; got {' '.join(given)}"])
    stems = [Path(name).stem for name in given]
    return [_one(text, stem if stems.count(stem) == 1 else text) for text, stem in zip(given, stems, strict=True)]


def _one(text: str, name: str) -> Written:
    path = Path(text)
    if not path.is_file() and text in recipes():
        return Written(name, f"recipe {text}", recipe(text), parse, lambda error: _named(error, f"recipe {text}"))
    if not path.exists() and not path.suffix:
        raise InvalidInput([f"a spec must be a file or the name of a recipe; got {text!r}; {nearest(text, recipes())}"])
    file = read_spec(path)
    return Written(name, str(path), file.data, file.parse, file.at_lines)


def _named(error: InvalidInput, name: str) -> InvalidInput:
    return InvalidInput([Problem(problem.what, problem.path, name) for problem in error.problems])


def _inputs(spec: Written, source: Any) -> None:
    problems = check_inputs(source, spec.parse(spec.document).inputs)
    if problems:
        raise spec.at_lines(InvalidInput(problems))


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("._") or "spec"


def _prepare(folder: Path, planned: Plan, where: dict[str, Any]) -> None:
    """Makes the folder; one that holds the result of another comparison is left alone (more seeds or other L0s are the same one).

    Raises:
        StudyError: it does.
    """
    path = folder / RESULT
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            told = _identity({entry["name"]: entry["spec"] for entry in before["entries"]}, before["provenance"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StudyError(f"{path}: cannot be read as a comparison; delete it, or choose another folder with --out") from None
        mine = plain(_identity({entry.name: entry.document for entry in planned.entries}, where))
        other = [name for name in mine if mine[name] != told.get(name)] + [name for name in told if name not in mine]
        if other:
            raise StudyError(f"{folder}: holds another comparison ({', '.join(other)} differ); choose another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)


def _identity(specs: dict[str, Any], where: dict[str, Any]) -> dict[str, Any]:
    """Returns what makes two comparisons the same one, by what a reader would call it."""
    return {**specs, "the activations": where["activations"]["fingerprint"], "the precision": where["precision"]}


def _report(found: Comparison, folder: Path, where: dict[str, Any], as_json: bool) -> None:
    command = shlex.join(["archsearch", *sys.argv[1:]])
    told = compare_json(found, command, where)
    text = markdown(found, command, where)
    written = [
        write_json(folder / RESULT, told),
        write_whole(folder / "compare.md", lambda partial: partial.write_text(text, encoding="utf-8")),
        write_whole(folder / "compare.png", lambda partial: save_comparison(found, partial)),
        folder / "runs.jsonl",
    ]
    if as_json:
        print(json.dumps(told, indent=1))
        return
    console = Console()
    print_comparison(found, console)
    console.print(Text(f"{folder}: {', '.join(path.name for path in written)}"), soft_wrap=True)
