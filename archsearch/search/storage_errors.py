"""What goes wrong with a study's database, in words: whatever layer it comes up through, SQLite's own error lies at the bottom."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from archsearch.errors import ArchsearchError, StudyError

GOES_ON = "Everything finished is saved, and the same command then goes on from there."
"""What becomes of a study whose database failed while it ran."""

_PRIMARY = 0xFF  # SQLite adds detail to its codes in higher bits

_LOCKED = "is locked by another program, and stayed so however long it was waited for; end that program, or let it finish"
_READ_ONLY = "cannot be written, it is read-only; make the file, its folder and its disk writable"
_TROUBLE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_FULL: "is full, or its disk is; free some space",
    sqlite3.SQLITE_IOERR: "could not be read or written by the system; see whether its disk is there, and has space left",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; its folder must be there, and both must be readable and writable",
}
"""What is wrong and what to do, by SQLite's primary code. What is damaged is left to whoever tells the user how to restore it."""

_BUGS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError)
"""What no state of a file brings about: these are our own mistakes, and no words should hide them."""


@contextmanager
def worded(url: str, then: str = "") -> Iterator[None]:
    """Tells errors of the database at `url` in one sentence.

    `then`: a sentence on what becomes of the work that was broken off, added where the file can be mended and the work can go on.

    Raises:
        StudyError: the database is locked, read-only, full, out of reach, damaged, or no study's.
    """
    try:
        yield
    except ArchsearchError:
        raise
    except Exception as error:
        cause = _sqlite_error(error)
        if cause is None:
            raise
        raise StudyError(_sentence(url.removeprefix("sqlite:///"), cause, then)) from error


def _sentence(path: str, cause: sqlite3.Error, then: str) -> str:
    trouble = _TROUBLE.get(getattr(cause, "sqlite_errorcode", 0) & _PRIMARY)
    if trouble is None:
        return f"{path}: cannot be used as a study's database ({cause})"
    return f"{path}: the study's database {trouble}{f'. {then}' if then else ''}"


def _sqlite_error(error: BaseException | None) -> sqlite3.Error | None:
    """Returns the error of SQLite that lies behind another, if there is one that a file may bring about."""
    while error is not None:
        if isinstance(error, sqlite3.Error):
            return None if isinstance(error, _BUGS) else error
        error = error.__cause__ or error.__context__
    return None
