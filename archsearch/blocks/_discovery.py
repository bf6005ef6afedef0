"""Finding blocks: by walking a package, in what installed distributions declare, and in what a user names.

A module from outside may do anything when it is imported; whatever goes wrong there is one problem that names it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from archsearch.blocks._block import Block
from archsearch.errors import InvalidInput, Problem

GROUP = "archsearch.blocks"
"""Entry points of this group name modules with blocks."""

WITHOUT = "ARCHSEARCH_NO_INSTALLED_BLOCKS"
"""Environment variable that leaves blocks of installed distributions out."""

Source = str | Path | type[Block]
"""A module by its dotted name, a `.py` file by its path, or a block itself."""


@dataclass(frozen=True)
class Found:
    """A block from outside this package: where it came from, and a way on where it cannot be used."""

    block: type[Block]
    origin: str
    remedy: str = ""


def below(name: str) -> list[type[Block]]:
    """Imports a module, and all below it where it is a package; returns the concrete blocks defined there."""
    root = importlib.import_module(name)
    found = defined_in(root)
    for info in pkgutil.walk_packages(getattr(root, "__path__", ()), prefix=f"{name}."):
        if not info.name.endswith(".__main__"):  # a program, not a library
            found += defined_in(importlib.import_module(info.name))
    return found


def defined_in(module: ModuleType) -> list[type[Block]]:
    """Returns the concrete blocks a module defines; those it imports from elsewhere are not its own."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Block) and not value.abstract and value.__module__ == module.__name__
    ]


@cache
def installed() -> tuple[Found, ...]:
    """Returns the blocks of every module that an installed distribution declares as an entry point of the group `archsearch.blocks`.

    Raises:
        InvalidInput: a module is broken; says which distribution to mend or to do without.
    """
    if os.environ.get(WITHOUT, "0") not in ("", "0"):
        return ()
    found: list[Found] = []
    problems: list[Problem] = []
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.value, point.name)):
        dist = f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"
        remedy = f"; mend or uninstall {dist}, or set {WITHOUT}=1 to go on without installed blocks"
        origin = f"{dist} (entry point {point.name}, module {point.module})"
        try:
            with _told(origin, point.module, remedy):
                if point.attr:
                    raise TypeError(f"the entry point must name a module; got {point.value!r}")
                found += _some(below(point.module), origin, remedy)
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return tuple(found)


def named(source: Source) -> list[Found]:
    """Returns the blocks of a module, of a file, or the one block given.

    Raises:
        InvalidInput: there is no such module, it is broken, or it defines no block.
    """
    if isinstance(source, type):
        if not issubclass(source, Block) or source.abstract:
            raise InvalidInput([f"a class must be a block that is not abstract; got {source.__qualname__}"])
        return [Found(source, f"module {source.__module__}")]
    text = str(source)
    if isinstance(source, Path) or text.endswith(".py") or re.search(r"[/\\]", text):
        return _of_file(Path(source))
    if not all(part.isidentifier() for part in text.split(".")):
        raise InvalidInput([f"blocks are named by a module (`my_package.my_blocks`) or by the path of a .py file; got {text!r}"])
    origin = f"module {text}"
    with _told(origin, text), _first_on_path(Path.cwd()):
        return _some(below(text), origin)


def _of_file(path: Path) -> list[Found]:
    if path.suffix != ".py" or not path.is_file():
        what = "must be a .py file; a package is named as a module, with dots" if path.exists() else "no such file"
        raise InvalidInput([Problem(what, file=str(path))])
    # A name of its own: `random.py` must not stand in for the library's module of that name.
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"_own_blocks_{digest}_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}"
    origin = shown(str(path.absolute()))
    module = ModuleType(name)
    module.__file__ = str(path.absolute())
    sys.modules[name] = module  # Pydantic looks up the names in annotations there
    with _told(origin, name), _first_on_path(path.resolve().parent):
        # Executed anew each time: in a notebook the file changes. `dont_inherit`: this module's `__future__` imports are not the file's.
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))
        return _some(defined_in(module), origin)


def _some(blocks: list[type[Block]], origin: str, remedy: str = "") -> list[Found]:
    if not blocks:
        raise TypeError("defines no block; one that is imported from elsewhere counts where it is defined")
    return [Found(block, origin, remedy) for block in blocks]


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """Makes modules in a folder importable: first while a user's module is imported, as for a script.

    Afterwards the folder stands last: what the module imports later is found, and a stray file never stands in for a library's module.
    """
    importlib.invalidate_caches()
    entry = str(folder)
    if entry in sys.path or ("" in sys.path and folder == Path.cwd()):
        yield
        return
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
        sys.path.append(entry)


@contextmanager
def _told(origin: str, name: str, remedy: str = "") -> Iterator[None]:
    """Makes whatever a module raises while it is imported one problem with its place."""
    try:
        yield
    except (Exception, SystemExit) as error:
        file, line = _place(error, name.split(".")[0])
        path = "" if file == origin else origin
        raise InvalidInput([Problem(_words(error, name) + remedy, path, file, line)]) from error


def _place(error: BaseException, top: str) -> tuple[str, int | None]:
    """Returns the deepest place in the user's own code that an error passed, as file and line."""
    if isinstance(error, SyntaxError) and error.filename:
        return shown(error.filename), error.lineno
    found = ("", None)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).split(".")[0] == top:
            found = (shown(frame.f_code.co_filename), line)
    return found


def shown(file: str) -> str:
    """Returns a file's path as seen from the current directory, where it lies below it."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _words(error: BaseException, name: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return f"no module {error.name!r}, neither installed nor in the current directory; a file is named by its path (`./{name}.py`)"
    if isinstance(error, SystemExit):
        return f"must be importable; it ends the process instead (SystemExit: {error.code})"
    said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())[:400]
    return said if isinstance(error, TypeError) and said else f"{type(error).__name__}: {said or 'no message'}"
