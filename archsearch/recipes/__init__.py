"""Published recipes as SAE specs: complete documents, of which a study replaces tokens, batch, width and sparsity."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from archsearch.errors import InvalidInput, nearest


@cache
def names() -> list[str]:
    """Returns the names of all recipes, sorted."""
    found = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def recipe(name: str) -> dict[str, Any]:
    """Returns the SAE spec of a recipe as plain data, a fresh copy each time.

    Raises:
        InvalidInput: no recipe bears that name; says the nearest one.
    """
    if name not in names():
        raise InvalidInput([f"unknown recipe {name!r}; {nearest(name, names())}"])
    return json.loads((files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
