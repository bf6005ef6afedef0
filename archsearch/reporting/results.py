"""Writes what a study came to into its folder: `front.json`, `front.png`, `front.html`, `summary.md`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archsearch import reporting
from archsearch.reporting.front import front_json
from archsearch.reporting.table import summary
from archsearch.search.records import StudyRecord


def write_results(record: StudyRecord, folder: Path) -> list[Path]:
    """Writes the four files, each whole or not at all, and returns their paths.

    Raises:
        OSError: the folder cannot be written; files that were there before stay as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_json(folder / "front.json", front_json(record)),
        write_whole(folder / "front.png", lambda path: reporting.save_png(record, path)),
        write_whole(folder / "front.html", lambda path: reporting.save_page(record, path)),
        write_whole(folder / "summary.md", lambda path: path.write_text(summary(record), encoding="utf-8")),
    ]


def write_json(path: Path, data: Any) -> Path:
    """Writes plain data as JSON, whole or not at all, and returns the path."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Lets `write` fill a temporary file beside `path`, flushes it to disk and renames it into place; returns the path."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
