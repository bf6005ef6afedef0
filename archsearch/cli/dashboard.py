"""`dashboard`: Optuna's dashboard on a study, on loopback, for reading only."""

from __future__ import annotations

import importlib
import re
import sqlite3
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs, quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import RDBStorage

from archsearch.cli.inputs import study_folder
from archsearch.errors import ArchsearchError
from archsearch.reporting.dashboard import dressed_json
from archsearch.search.ledger import read_study, storage_of
from archsearch.search.storage_errors import worded

HOST = "127.0.0.1"
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_DETAIL = re.compile(r"/api/studies/\d+/?")


def dashboard(args: Namespace) -> int:
    """Serves the dashboard until Ctrl-C."""
    folder = study_folder(args.study)
    app = read_only(dressing(application(folder), folder))
    with make_server(HOST, args.port, app, server_class=_Server, handler_class=_Quiet) as server:
        print(f"http://{HOST}:{server.server_port}/ shows {args.study} (read-only; Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def application(folder: Path) -> App:
    """Returns the dashboard of the study in `folder`, on a database opened for reading only.

    Raises:
        StudyError: there is no study, or its database cannot be read.
        ArchsearchError: the dashboard is not installed.
    """
    url, _ = storage_of(folder)
    path = url.removeprefix("sqlite:///")
    try:
        module = importlib.import_module("optuna_dashboard")
    except ImportError:
        raise ArchsearchError("the dashboard is not installed; `pip install 'archsearch[dashboard]'` does it") from None

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, check_same_thread=False, timeout=60)

    # Refusing requests is not enough: the dashboard also writes on its own, and a study may be running on the same database.
    with worded(url):
        return module.wsgi(RDBStorage(f"sqlite:///{path}", engine_kwargs={"creator": connect}, skip_table_creation=True))


def dressing(app: App, folder: Path) -> App:
    """Returns `app` with what the study in `folder` knows in its answers: feasible trials, the front and notes on it, hypervolume.

    The page asks for trials after those it has; who stands on the front is told of all, so that the whole study is asked for.
    """

    def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") != "GET" or not _DETAIL.fullmatch(environ.get("PATH_INFO", "")):
            return app(environ, start_response)
        begun: list[Any] = []
        body = b"".join(app({**environ, "QUERY_STRING": ""}, lambda status, headers, *rest: begun.append((status, headers))))
        status, headers = begun[-1]
        after = parse_qs(environ.get("QUERY_STRING", "")).get("after", ["0"])[0]
        if status.startswith("200"):
            body = dressed_json(body, read_study(folder), int(after) if after.isdecimal() else 0)
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start_response(status, headers)
        return [body]

    return told


def read_only(app: App) -> App:
    """Returns `app` behind a guard that refuses every request but GET and HEAD."""

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Type", "text/plain; charset=utf-8")])
            return [b"this dashboard is read-only\n"]
        return app(environ, start_response)

    return guarded


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a line a request would bury the address."""
