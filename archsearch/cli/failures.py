"""Words for whatever goes wrong: one clear message and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from archsearch.errors import ArchsearchError, StudyError

DEBUG_HINT = "set ARCHSEARCH_DEBUG=1 to see where"

_FULL = "the disk is full{at}; free some space and run the same command again: nothing that was finished is lost"
_LOCKED = "{path} cannot be written{why}; choose another folder with --out, or change its permissions"
_BY_NUMBER = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EACCES: _LOCKED, errno.EPERM: _LOCKED, errno.EROFS: _LOCKED}
_BY_WORDS = {"disk is full": errno.ENOSPC, "readonly database": errno.EROFS, "unable to open database file": errno.EACCES}
"""How SQLite says what the system said."""

_NO_MEMORY = (
    "not enough memory",
    "DefaultCPUAllocator",
    "Storage size calculation overflowed",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""How torch says that there is no memory."""

_DAMAGED = ("file is not a database", "database disk image is malformed", "no such table: archsearch_")
"""How SQLite says that a study's file is no study any more."""

_RESTORE = "restore that file from a copy, or delete it and run the study anew; results already exported are untouched"


def explain(error: BaseException) -> tuple[str, int]:
    """Returns the message and the exit code of an error."""
    if isinstance(error, StudyError) and _damaged(error):
        return f"{str(error).replace('sqlite:///', '')}; {_RESTORE}", error.exit_code
    if isinstance(error, ArchsearchError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if any(_no_memory(cause) for cause in _chain(error)):
        return "out of memory; a smaller `batch`, `width` or `sweep` needs less", 1
    if _damaged(error):
        return f"the study's database is damaged ({' '.join(str(_deepest(error)).split())[:200]}); {_RESTORE}", 1
    if (told := _system(error)) is not None:
        return told, 1
    said = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {said[:300] or 'no message'} ({DEBUG_HINT})", 1


def _system(error: BaseException) -> str | None:
    """Returns a sentence for a full disk, a read-only folder and their like, however deep they lie in the chain of causes."""
    for cause in _chain(error):
        number = _number(cause)
        path = str(getattr(cause, "filename", None) or "the output folder")
        if number == errno.EADDRINUSE:
            return "the port is in use; choose another with --port"
        if number in _BY_NUMBER:
            at = f" ({path})" if getattr(cause, "filename", None) else ""
            why = f" ({os.strerror(number).lower()})"
            return _BY_NUMBER[number].format(at=at, path=path, why=why)
        if isinstance(cause, OSError) and cause.strerror:
            place = f"{cause.filename}: " if cause.filename else ""
            return f"{place}{cause.strerror[:1].lower()}{cause.strerror[1:]} ({DEBUG_HINT})"
    return None


def _no_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for its name
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def _damaged(error: BaseException) -> bool:
    return any(words in str(cause) for cause in _chain(error) for words in _DAMAGED)


def _deepest(error: BaseException) -> BaseException:
    return list(_chain(error))[-1]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    said = str(error)
    told = re.search(r"os error (\d+)", said)  # safetensors is written in Rust, which says it this way
    if told:
        return int(told[1])
    return next((number for words, number in _BY_WORDS.items() if words in said), None)
