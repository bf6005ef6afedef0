"""Documents, and the one corpus every installation already has: the Python standard library."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from archsearch.activations.splits import Split, split_of
from archsearch.errors import DataError

# Tests and idlelib, lib2to3, turtledemo, distutils, ensurepip, tkinter and venv are packages of their own on some systems;
# encodings and pydoc_data are tables written by machines. Leaving them out gives every installation the same list.
LEFT_OUT = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "turtledemo", "distutils", "ensurepip", "tkinter", "venv"}
    | {"encodings", "pydoc_data"}
    | {"site-packages", "dist-packages", "__pycache__"}
)
_OF_THIS_MACHINE = ("_sysconfigdata", "sitecustomize", "usercustomize", "_distutils_system_mod", "config-")


@dataclass(frozen=True)
class Document:
    """One text with a name; the name decides its split."""

    name: str
    text: str

    @property
    def split(self) -> Split:
        return split_of(self.name)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


def fingerprint(documents: Iterable[Document]) -> str:
    """Returns a SHA-256 over the names and contents of `documents`, whatever their order."""
    lines = sorted(f"{document.name}\0{document.sha256}\n" for document in documents)
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def read_text(path: Path) -> str:
    """Returns the file as UTF-8 with `\\n` line ends; bytes that are not UTF-8 become U+FFFD."""
    return path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")


def standard_library(root: Path | None = None) -> list[Document]:
    """Returns the modules of the running interpreter's standard library, sorted by relative path.

    Raises:
        DataError: when there is no standard library source there (a stripped or zipped interpreter).
    """
    root = Path(sysconfig.get_paths()["stdlib"]) if root is None else root
    documents = [Document(name, read_text(root / name)) for name in sorted(_modules(root))]
    documents = [document for document in documents if document.text.strip()]
    if not documents:
        raise DataError(
            f"the bundled source needs the Python standard library as .py files; found none under {str(root)!r}; "
            "use an interpreter that ships its sources, or another activations source"
        )
    return documents


def _modules(root: Path) -> Iterator[str]:
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name not in LEFT_OUT and not name.startswith(_OF_THIS_MACHINE)]
        for name in files:
            if name.endswith(".py") and not name.startswith(_OF_THIS_MACHINE):
                yield (Path(folder) / name).relative_to(root).as_posix()
