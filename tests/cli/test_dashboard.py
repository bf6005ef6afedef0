"""The dashboard is for reading only: at the door, and in the database behind it."""

from __future__ import annotations

import io
import json
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from archsearch.cli.dashboard import application, read_only
from archsearch.errors import ArchsearchError, StudyError
from tests.cli.conftest import Run

pytest.importorskip("optuna_dashboard")


def ask(app: Any, method: str, path: str, body: bytes = b"") -> tuple[str, bytes]:
    told: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
    }
    chunks = app(environ, lambda status, headers, *rest: told.append(status))
    return told[0], b"".join(chunks)


def copied(finished: Path, folder: Path) -> Path:
    """Returns a folder with a copy of the study's database, so that a hole in the guard would harm no other test."""
    (folder / "study.db").write_bytes((finished / "studies/tiny/study.db").read_bytes())
    return folder


def studies(folder: Path) -> list[Any]:
    with sqlite3.connect(folder / "study.db") as connection:
        return connection.execute("select study_name from studies").fetchall()


def test_a_study_can_be_read(finished: Path, tmp_path: Path) -> None:
    app = read_only(application(copied(finished, tmp_path)))
    status, body = ask(app, "GET", "/api/studies")
    assert status.startswith("200")
    assert "tiny" in [one["study_name"] for one in json.loads(body)["study_summaries"]]
    status, body = ask(app, "GET", "/api/studies/1")
    assert status.startswith("200") and len(json.loads(body)["trials"]) >= 4
    assert ask(app, "HEAD", "/dashboard")[0].startswith("200")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "delete", "BREW"])
@pytest.mark.parametrize("path", ["/api/studies/1", "/api/studies", "/api/studies/1/1/note", "/api/trials/1/tell"])
def test_everything_but_reading_is_refused(method: str, path: str, finished: Path, tmp_path: Path) -> None:
    app = read_only(application(copied(finished, tmp_path)))
    before = studies(tmp_path)
    status, body = ask(app, method, path, b'{"body": "x", "version": 1}')
    assert status == "405 Method Not Allowed" and b"read-only" in body
    assert studies(tmp_path) == before


def test_even_without_the_guard_the_database_cannot_be_changed(finished: Path, tmp_path: Path) -> None:
    app = application(copied(finished, tmp_path))
    before = (tmp_path / "study.db").read_bytes()
    status, _ = ask(app, "DELETE", "/api/studies/1")
    assert not status.startswith("2")
    assert (tmp_path / "study.db").read_bytes() == before


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"):
        application(tmp_path)


def test_a_missing_dashboard_is_a_sentence(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(ArchsearchError, match=r"pip install 'archsearch\[dashboard\]'"):
        application(copied(finished, tmp_path))


def test_a_busy_port_is_a_sentence(there: Path, run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told = run("dashboard", "tiny", "--port", str(taken.getsockname()[1]))
    assert told.code == 1 and "the port is in use" in told.err
