"""What a running study tells whoever looks from another terminal: a small file beside its database, written now and then.

Who looks reads a file, and takes no lock; who writes may lose it, and goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsearch.search.records import Status

FILE = "progress.json"
"""Its name inside a study's folder."""

SECONDS = 2.0
"""Least time between two writings."""

FIELDS = ("doing", "done", "planned", "step_frac", "tokens_per_second", "left_seconds")


@dataclass(frozen=True)
class Progress:
    """What a study told last: its status, how long ago that was, and how long this session of it had been at work by then."""

    status: Status
    age_seconds: float
    spent_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Returns it as plain data."""
        told = {name: getattr(self.status, name) for name in FIELDS}
        return {**told, "age_seconds": self.age_seconds, "spent_seconds": self.spent_seconds}


def noted(folder: Path, observe: Callable[[Status], None], clock: Callable[[], float] = time.time) -> Callable[[Status], None]:
    """Returns an observer that passes a status on, and writes it to the folder every few seconds."""
    begun, last = clock(), -SECONDS

    def tell(status: Status) -> None:
        nonlocal last
        observe(status)
        now = clock()
        if now - last < SECONDS:
            return
        last = now
        told = {name: getattr(status, name) for name in FIELDS}
        _write(folder / FILE, {**told, "at": now, "begun": begun})

    return tell


def _write(path: Path, told: dict[str, Any]) -> None:
    """Writes whole or not at all; a full disk is the study's to tell, when it matters."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with contextlib.suppress(OSError):
        partial.write_text(json.dumps(told), encoding="utf-8")
        partial.replace(path)


def progress_of(folder: Path, clock: Callable[[], float] = time.time) -> Progress | None:
    """Returns what the study in a folder told last, None where it told nothing that can be read."""
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        status = Status(**{name: told[name] for name in FIELDS})
        return Progress(status, max(clock() - told["at"], 0.0), max(told["at"] - told["begun"], 0.0))
    except (OSError, ValueError, KeyError, TypeError):
        return None
