"""The one tree of errors, and the one way a problem with a user's input is written down.

A message says what must hold, what came (`!r`), where (file, line, path) and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class ArchsearchError(Exception):
    """Base of every error a user may meet; the command line prints it without a traceback."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a user's input.

    `path` is the place inside the document (`graph.gate.k`), `file` and `line` (1-based) the place on disk, where known.
    """

    what: str
    path: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        where = " -> ".join(part for part in (place, self.path) if part)
        return f"{where}: {self.what}" if where else self.what


class InvalidInput(ArchsearchError):
    """A file or a spec that cannot be used: carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem | str]):
        self.problems = [p if isinstance(p, Problem) else Problem(p) for p in problems]
        super().__init__("\n".join(str(p) for p in self.problems))


class AssemblyError(InvalidInput):
    """A spec whose parts are each legal but do not fit together."""


class DataError(ArchsearchError):
    """Activations that are missing, empty, damaged or not finite."""


class StudyError(ArchsearchError):
    """A study that cannot be continued or read."""


class Interrupted(ArchsearchError):
    """The user stopped the work; everything finished is saved, and the same command goes on."""

    exit_code = 130


def nearest(name: str, valid: Sequence[str]) -> str:
    """Returns a closing clause naming the nearest valid name, or all of them if nothing is near."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}? (valid: {_listing(valid)})"
    return f"valid: {_listing(valid)}"


def _listing(names: Sequence[str], limit: int = 30) -> str:
    shown = ", ".join(sorted(names)[:limit])
    return shown + (f", ... ({len(names)} in all)" if len(names) > limit else "")
