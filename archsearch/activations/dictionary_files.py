"""What is wrong with the folder of a trained SAE as far as its files' names and its spec tell; no weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archsearch.errors import DataError, Problem
from archsearch.spec.activations import DictionarySource

SPEC, WEIGHTS = "spec.json", "sae.safetensors"


def dictionary_problems(spec: DictionarySource) -> list[Problem]:
    """Returns what is wrong with the folder, at most one problem."""
    folder = Path(spec.folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        return [Problem(f"a trained SAE must be a folder as `archsearch train` writes it; {spec.folder!r} {what}", "folder")]
    missing = [name for name in (SPEC, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        return [
            Problem(f"a trained SAE's folder must hold {SPEC} and {WEIGHTS}; {spec.folder!r} holds no {' and no '.join(missing)}", "folder")
        ]
    try:
        read_document(spec)
    except DataError as error:
        return [Problem(str(error), "folder")]
    return []


def read_document(spec: DictionarySource) -> dict[str, Any]:
    """Returns the spec of the trained SAE.

    Raises:
        DataError: the file cannot be read as one.
    """
    path = Path(spec.folder) / SPEC
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: must be an SAE spec in JSON ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: must be an SAE spec in JSON; got {type(found).__name__}")
    return found


def names_of(targets: list[str]) -> tuple[str, ...]:
    """Returns the names of the activations that the rows of a dictionary of these targets are: `x` for one, the targets' for several."""
    return ("x",) if len(targets) < 2 else tuple(targets)
