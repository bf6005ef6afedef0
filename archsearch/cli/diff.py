"""`diff`: what tells two SAEs, or two spaces, apart."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from archsearch.assembler.parse import parse
from archsearch.cli.estimate import known_width
from archsearch.cli.inputs import STUDIES, is_space, read_spec, recorded_in, study_folder
from archsearch.errors import ArchsearchError, InvalidInput, Problem, nearest
from archsearch.recipes import names as recipes
from archsearch.recipes import recipe
from archsearch.reporting.difference import FORMAT, Side, pair, pair_json, print_pair, side
from archsearch.search.ledger import DATABASE, STORAGE, read_study
from archsearch.search.records import StudyRecord
from archsearch.spec.space import Space
from archsearch.spec.yaml import Document, load

WIDTH = 128
"""Width of the activations assumed where neither side says it: the bundled model's."""

_TRIAL = re.compile(r"(.+):(\d+)")


@dataclass(frozen=True)
class Named:
    """One SAE that was named on the command line; `width`: of its activations, where that is known."""

    name: str
    read: Callable[[], Any]
    measured: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    width: int | None = None


def diff(args: Namespace) -> int:
    """Prints what tells two things apart.

    Raises:
        InvalidInput: a name stands for nothing, or one names an SAE and the other a space.
    """
    found = _both(args.here, args.there)
    if isinstance(found[0], Space) and isinstance(found[1], Space):
        return _spaces(args, found[0], found[1])
    one, other = found
    assert isinstance(one, Named) and isinstance(other, Named)
    width = args.d_model or one.width or other.width or WIDTH
    told = pair(_side(one, width), _side(other, width))
    if args.json:
        print(json.dumps(pair_json(told), indent=1))
    else:
        print_pair(told, Console())
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the first of the two that says one."""
    for text in (args.here, args.there):
        try:
            told = recorded_in(Path(text)) if Path(text).is_file() else _record(_split(text)[0]).command
        except ArchsearchError:
            continue
        if told:
            return told
    return ""


def _both(here: str, there: str) -> tuple[Named | Space, Named | Space]:
    """Returns what the two names stand for; a name that is a study's and a recipe's is what the other side is.

    Raises:
        InvalidInput: they stand for nothing, or for things that cannot be compared.
    """
    texts = (here, there)
    open_ended = [_is_study(text) and text in recipes() for text in texts]  # no recipe has a `/`: studies/NAME is always the study
    found: list[Named | Space | None] = [None if free else _one(text) for text, free in zip(texts, open_ended, strict=True)]
    as_spaces = any(isinstance(one, Space) for one in found)
    done = [one if one is not None else _space_of(text) if as_spaces else _recipe(text) for text, one in zip(texts, found, strict=True)]
    if isinstance(done[0], Space) is not isinstance(done[1], Space):
        study = texts[0] if isinstance(done[0], Space) else texts[1]
        raise InvalidInput([f"{study} is a space, the other one SAE; name a trial of it (`{study}:17`), or two spaces"])
    return done[0], done[1]


def _one(text: str) -> Named | Space:
    name, number = _split(text)
    path = Path(text)
    if path.is_file():
        return Space.load(path) if is_space(load(path).data) else _file(path)
    if number is not None:
        return _trial(name, number)
    if path.is_dir() and (path / "spec.json").is_file() and not _holds_study(path):
        return _file(path / "spec.json")
    if _is_study(text):
        return _space_of(text)
    if text in recipes():
        return _recipe(text)
    if path.suffix or path.is_dir():
        raise InvalidInput([f"{text}: holds neither a spec nor a study" if path.is_dir() else f"{text}: there is no such file"])
    studies = [folder.name for folder in STUDIES.iterdir() if _holds_study(folder)] if STUDIES.is_dir() else []
    known = list(dict.fromkeys([*studies, *recipes()]))
    what = "must be STUDY:TRIAL, a study, a file with a spec or a space, a folder of an export, or the name of a recipe"
    raise InvalidInput([f"{what}; got {text!r}; {nearest(text, known)}"])


def _split(text: str) -> tuple[str, int | None]:
    match = _TRIAL.fullmatch(text)
    return (match[1], int(match[2])) if match else (text, None)


def _holds_study(folder: Path) -> bool:
    return (folder / DATABASE).is_file() or (folder / STORAGE).is_file()


def _is_study(text: str) -> bool:
    return any(_holds_study(folder) for folder in (Path(text), STUDIES / text))


def _record(name: str) -> StudyRecord:
    return read_study(study_folder(name))


def _space_of(text: str) -> Space:
    return Space.read(Document(_record(text).space))


def _recipe(name: str) -> Named:
    return Named(name, lambda: _placed(name, lambda: parse(recipe(name))))


def _trial(name: str, number: int) -> Named:
    record = _record(name)
    found = next((trial for trial in record.trials if trial.number == number), None)
    if found is None:
        last = f"the last is {record.trials[-1].number}" if record.trials else "it has none yet"
        raise InvalidInput([f"{name}:{number} must name a trial of {record.name} ({last})"])
    data = record.provenance.get("activations", {}).get("fingerprint", "")
    label = f"{name}:{number}"
    return Named(label, lambda: _placed(label, lambda: parse(found.spec)), dict(found.measurements), data, _width(record.space))


def _width(space: dict[str, Any]) -> int | None:
    try:
        return known_width(Space.read(Document(space)).activations)
    except ArchsearchError:
        return None  # a block or a file that is not there any more: the width is a guess then


def _file(path: Path) -> Named:
    """Returns the first spec of a file, with the measurements that stand beside it in an export or in a trained SAE's folder."""
    file = read_spec(path)
    beside = path.parent / "measurements.json"
    told: Any = file.document.data
    if path.name == "spec.json" and beside.is_file():
        told = load(beside).data
    where = told.get("provenance") or {}
    for step in file.path[:-1]:
        told = told[step]
    measured = told.get("measurements") if isinstance(told, dict) else None
    data = (where.get("activations") or {}).get("fingerprint", "")
    return Named(str(path), lambda: file.parse(file.data), measured or {}, data)


def _placed(name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except InvalidInput as error:
        raise InvalidInput([Problem(problem.what, problem.path, name) for problem in error.problems]) from None


def _side(one: Named, width: int) -> Side:
    spec = one.read()
    return _placed(one.name, lambda: side(one.name, spec, width, one.measured, one.data))


def _spaces(args: Namespace, here: Space, there: Space) -> int:
    lines = here.difference(there)
    if args.json:
        print(json.dumps({"format": FORMAT, "names": [args.here, args.there], "differences": lines}, indent=1))
        return 0
    console = Console()
    count = "nothing that counts differs" if not lines else "what differs:"
    console.print(Text(f"{args.here} -> {args.there}: {count}", style="bold"), soft_wrap=True)
    for line in lines:
        console.print(Text(f"  {line}"), soft_wrap=True)
    return 0
