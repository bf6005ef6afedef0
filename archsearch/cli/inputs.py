"""What several commands read: study folders, spec files, sources of activations, and the machine they run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from archsearch.activations.preflight import check_activations
from archsearch.assembler.parse import parse
from archsearch.assembler.requested import check_written
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.activations import ActivationsSpec
from archsearch.spec.block import SpecModel
from archsearch.spec.messages import problems_of
from archsearch.spec.yaml import Document, load, located
from archsearch.training.looped import Looped
from archsearch.training.machine import resolve_machine
from archsearch.training.stacked import Stacked

STUDIES = Path("studies")


def study_folder(name: str) -> Path:
    """Returns the folder of a study given as a folder or as a name under ./studies/.

    Raises:
        InvalidInput: there is neither; says the nearest name.
    """
    for folder in (Path(name), STUDIES / name):
        if folder.is_dir():
            return folder
    known = sorted(folder.name for folder in STUDIES.iterdir() if folder.is_dir()) if STUDIES.is_dir() else []
    hint = nearest(name, known) if known else "there is no study under ./studies/ yet"
    raise InvalidInput([f"no study {name!r}: neither a folder nor a name under ./studies/; {hint}"])


@dataclass(frozen=True)
class SpecFile:
    """A file with an SAE spec: the plain data of the spec, and where it stands in the file."""

    document: Document
    path: tuple[str | int, ...]

    @property
    def data(self) -> dict[str, Any]:
        """The spec as written."""
        node: Any = self.document.data
        for step in self.path:
            node = node[step]
        return node

    def parse(self, data: dict[str, Any]) -> Any:
        """Returns `data` (the spec, perhaps changed) parsed.

        Raises:
            InvalidInput: every problem, with its line in the file.
        """
        try:
            check_written(self.data, catalogue())  # as written: what an option or a comparison fills in is meant to replace it
            return parse(data)
        except InvalidInput as error:
            raise self.at_lines(error) from None

    def at_lines(self, error: InvalidInput) -> InvalidInput:
        """Returns the error with file and line put to every problem."""
        prefix = ".".join(map(str, self.path))
        return InvalidInput(located(error.problems, self.document.marks, self.document.file, prefix))


def is_space(data: dict[str, Any]) -> bool:
    """Tells a space from an SAE spec (and from what `export` writes): it has what only a space has."""
    return "graph" not in data and (any(key in data for key in ("sae", "variants")) or isinstance(data.get("study"), dict))


def read_spec(path: Path) -> SpecFile:
    """Reads an SAE spec, or the first spec of a file that `archsearch export` or a study wrote.

    Raises:
        InvalidInput: the file holds none.
    """
    document = load(path)
    data = document.data
    if is_space(data):
        raise InvalidInput([Problem("holds a space, not one SAE; search it with `archsearch study --space`", file=str(path))])
    for key in ("specs", "front"):
        entries = data.get(key)
        if isinstance(entries, list):
            if not entries or not isinstance(entries[0], dict) or not isinstance(entries[0].get("spec"), dict):
                raise InvalidInput([Problem("holds no spec", key, str(path))])
            return SpecFile(document, (key, 0, "spec"))
    return SpecFile(document, ("spec",) if isinstance(data.get("spec"), dict) else ())


def recorded_in(path: Path) -> str:
    """Returns the command line that made a file, empty where it says none."""
    try:
        return str(load(path).data.get("command", ""))
    except InvalidInput:
        return ""


class _Wrapped(SpecModel):
    """Gives a source a field to stand in, so that its errors are worded as in a space."""

    activations: ActivationsSpec


def read_activations(text: str) -> Any:
    """Returns the source named `text` (`bundled`), or the one in that file: by itself, or as `activations:` of a space.

    Raises:
        InvalidInput: with every problem.
    """
    path = Path(text)
    if not path.suffix and not path.exists():
        return _source({"activations": {"source": text}}, Document({}, {}, ""))
    document = load(path)
    whole = "activations" in document.data or is_space(document.data)
    data = {"activations": document.data.get("activations", {"source": "bundled"})} if whole else {"activations": document.data}
    return _source(data, document)


def output_folder(path: Path) -> Path:
    """Returns a folder that `--out` names, there or not.

    Raises:
        InvalidInput: a file stands in its place or above it.
    """
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise InvalidInput([f"--out must be a folder; got {str(path)!r}, and {str(place)!r} is a file"])
    return path


def _source(data: dict[str, Any], document: Document) -> Any:
    try:
        source = TypeAdapter(_Wrapped).validate_python(data).activations
        check_activations(source, document, "activations" if "activations" in document.data else "")
        return source
    except ValidationError as error:
        problems = problems_of(error, data, _Wrapped)
        raise InvalidInput(located(problems, document.marks, document.file)) from None


@dataclass(frozen=True)
class Machine:
    """Where and how SAEs are trained."""

    device: str
    executor: Looped | Stacked
    precision: str


def machine_of(device: str, executor: str = "auto", precision: str = "auto") -> Machine:
    """Returns the machine that options stand for, `auto` resolved.

    Raises:
        InvalidInput: the device cannot be used here.
    """
    chosen, name, found = resolve_machine(device, executor, precision)
    return Machine(chosen, Stacked() if name == "stacked" else Looped(), found)
