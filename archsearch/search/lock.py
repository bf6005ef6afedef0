"""One process at work in a folder: one coordinator a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archsearch.errors import StudyError

try:
    import fcntl
except ImportError:  # not a POSIX system: no lock to be had
    fcntl = None


@contextmanager
def only_one(folder: Path, busy: str | None = None) -> Iterator[None]:
    """Holds a folder's lock; the kernel frees it when the process ends, however it ends.

    `busy`: what to say, behind the folder's name, where another process holds it; unset: that it runs the study there.

    Raises:
        StudyError: another process holds it.
    """
    path = folder / ".lock"
    with path.open("a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                said = busy or f"another process is running this study; watch it with `archsearch status {folder}`"
                raise StudyError(f"{folder}: {said}") from None
        yield
