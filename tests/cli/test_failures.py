"""Whatever goes wrong is a message and an exit code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest

from archsearch.cli import main as dispatcher
from archsearch.cli.failures import explain
from archsearch.cli.options import COMMANDS, Command
from archsearch.errors import ArchsearchError, Interrupted, InvalidInput, StudyError
from tests.cli.conftest import Run


def chained(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


CASES = {
    "ours": (StudyError("no"), "no", 1),
    "wrong input": (InvalidInput(["a", "b"]), "a\nb", 2),
    "stopped": (Interrupted("saved"), "saved", 130),
    "Ctrl-C": (KeyboardInterrupt(), "interrupted", 130),
    "full disk": (OSError(errno.ENOSPC, "x", "/d/f"), "the disk is full (/d/f); free some space", 1),
    "read-only": (OSError(errno.EROFS, "x", "/d/f"), "/d/f cannot be written (read-only file system); choose another folder", 1),
    "no rights": (PermissionError(errno.EACCES, "x", "/d/f"), "/d/f cannot be written (permission denied)", 1),
    "full disk, said in Rust": (RuntimeError("IoError: No space left on device (os error 28)"), "the disk is full; free", 1),
    "full disk, said by SQLite": (chained(RuntimeError("sql"), RuntimeError("database or disk is full")), "the disk is full", 1),
    "read-only, said by SQLite": (RuntimeError("attempt to write a readonly database"), "the output folder cannot be written", 1),
    "another system error": (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "/x: no such file", 1),
    "busy port": (OSError(errno.EADDRINUSE, "Address already in use"), "the port is in use; choose another with --port", 1),
    "no memory": (MemoryError(), "out of memory", 1),
    "no memory, said by torch": (
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't"),
        "out of memory; a smaller",
        1,
    ),
    "sizes beyond any memory": (RuntimeError("Storage size calculation overflowed with sizes=[9]"), "out of memory; a smaller", 1),
    "a damaged study": (
        chained(StudyError("sqlite:////d/study.db: cannot be used (file is not a database)"), RuntimeError("file is not a database")),
        "/d/study.db: cannot be used (file is not a database); restore that file from a copy, or delete it",
        1,
    ),
    "damaged while in use": (
        RuntimeError("(sqlite3.DatabaseError) database disk image is malformed"),
        "the study's database is damaged (",
        1,
    ),
    "anything else": (ValueError("odd\nthing"), "unexpected ValueError: odd thing (set ARCHSEARCH_DEBUG=1 to see where)", 1),
}


@pytest.mark.parametrize("name", CASES)
def test_errors_are_worded(name: str) -> None:
    error, start, code = CASES[name]
    message, found = explain(error)
    assert message.startswith(start) and found == code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails in a way nobody foresaw."""

    def fail(args: Namespace) -> int:
        raise ZeroDivisionError("by nought")

    module = ModuleType("failing_command")
    module.__dict__["fail"] = fail
    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(COMMANDS, "fail", Command("Search", "fails", "failing_command", "archsearch fail", lambda parser: None))


def test_the_unforeseen_is_one_line(failing: None, run: Run) -> None:
    told = run("fail")
    assert told.code == 1
    assert told.err == "unexpected ZeroDivisionError: by nought (set ARCHSEARCH_DEBUG=1 to see where)\n"


def test_the_traceback_is_there_for_who_asks(failing: None, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHSEARCH_DEBUG", "1")
    told = run("fail")
    assert told.code == 1
    assert "Traceback" in told.err and told.err.endswith("(set ARCHSEARCH_DEBUG=1 to see where)\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "archsearch.cli.main", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_dispatcher_returns_what_a_command_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_dispatch", lambda arguments: 0)
    assert dispatcher.main(["x"]) == 0


def test_every_error_of_ours_has_an_exit_code() -> None:
    waiting, found = [ArchsearchError], []
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    assert {kind.exit_code for kind in found} <= {1, 2, 130}


def test_a_folder_where_a_file_stands_is_a_sentence(place: Path, run: Run) -> None:
    (place / "taken").write_text("")
    told = run("train", "--spec", "spec.yaml", "--activations", "activations.yaml", "--out", "taken/deeper", "--device", "cpu")
    assert (told.code, told.err) == (2, "--out must be a folder; got 'taken/deeper', and 'taken' is a file\n")
