"""Fills a space by chance so that every branch gets its turn."""

from __future__ import annotations

from typing import Any

from archsearch.search.turns import Turns, widest
from archsearch.spec.space import TARGET, Space

LEAST = 8
"""Structures drawn from the space before any child is made, and that children are made from later: fewer would soon be all of one kind."""


def population(space: Space) -> int:
    """Returns how many structures are drawn from a space first: `LEAST`, or as many as its widest choice of structure has branches."""
    return max(LEAST, widest(space))


def filled(space: Space, seed: int, index: int, again: int) -> dict[str, Any]:
    """Returns a document of the space, without an L0 to reach; `index` counts documents, `again` draws of one that were of no use."""
    document = space.fill(Turns.of(space, seed, index, again)).document
    return {name: value for name, value in document.items() if name != TARGET}
