"""What tells two trees of plain data apart, leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class _Nothing:
    """Stands where one of two trees has no such path."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


@dataclass(frozen=True)
class Difference:
    """One path (dotted) at which two trees differ; `NOTHING` where one of them has no such path."""

    path: str
    here: Any
    there: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.here!r} -> {self.there!r}"


def leaves(node: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """Yields every leaf of nested mappings with its dotted path; a list, and an empty mapping, is a leaf."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def differences(here: Any, there: Any) -> list[Difference]:
    """Returns every path at which two trees differ, sorted; a truth value is no number, though Python says that they are equal."""
    one, other = dict(leaves(here)), dict(leaves(there))
    found = [Difference(path, one.get(path, NOTHING), other.get(path, NOTHING)) for path in sorted({*one, *other})]
    return [difference for difference in found if not _same(difference.here, difference.there)]


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) is isinstance(other, bool)
