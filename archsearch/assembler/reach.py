"""What the settings of a space alone say of effective L0: whether it can lie in the band, and whether gates ask for too many latents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.assembler.requested import first_gates, graph_at_any_width
from archsearch.assembler.validate import parse_graph
from archsearch.blocks.catalogue import Catalogue
from archsearch.errors import Problem
from archsearch.spec.block import NestedSpec
from archsearch.spec.holes import ChoiceHole, IntHole
from archsearch.spec.template import Filled
from archsearch.spec.yaml import dotted


@dataclass
class Reach:
    """Effective L0 a structure can have, as far as its settings alone tell; `rank`: the least of it that paths past the codes take."""

    structure: dict[str, Any]
    low: float = math.inf
    high: float = -math.inf
    known: bool = True
    path: str = "study.band"
    rank: float = math.inf

    def widen(self, reach: tuple[float, float] | None, rank: int, filled: Filled, hole: str | None) -> None:
        """Takes in one more document, and the hole it is swept over."""
        self.rank = min(self.rank, rank)
        if hole is not None:
            self.path = filled.locate(dotted(filled.path_of[hole]))
        if reach is None:
            self.known = False
        else:
            self.low, self.high = min(self.low, reach[0]), max(self.high, reach[1])

    def problem(self, band: tuple[float, float]) -> Problem | None:
        """Returns a problem if no setting leads into the band."""
        if self.known and self.low <= band[1] and self.high >= band[0]:
            return None
        if not self.known and self.rank <= band[1]:
            return None
        where = f"lie between {self.low:g} and {self.high:g}" if self.known else f"be {self.rank:g} or more"
        past = f", {self.rank:g} of it the rank of what flows past the codes" if self.rank else ""
        what = f"effective L0 would {where}, outside the band {[*band]} of the study{past}"
        return Problem(f"{what}: no SAE of this branch could reach the front; change the range, or `study.band`", self.path)


@dataclass
class Count:
    """Latents a gate is told to keep, against the latents there are, over the corners of a space."""

    path: str
    structure: dict[str, Any]
    high: float = -math.inf
    width: int = 0
    fits: bool = False
    over: bool = False

    def widen(self, low: float, high: float, width: int) -> None:
        """Takes in the count of one more document."""
        self.fits |= low <= width
        self.over |= high > width
        self.high, self.width = max(self.high, high), max(self.width, width)

    def problem(self) -> Problem | None:
        """Returns a problem if the whole range is above the width."""
        if self.fits:
            return None
        return Problem(f"must be at most the width ({self.width}): no gate can keep more latents than there are", self.path)

    def note(self) -> str:
        """Returns a sentence if part of the range is above the width, else nothing."""
        if not (self.fits and self.over):
            return ""
        return f"{self.path} reaches {self.high:g}, above the width ({self.width}): more than all latents cannot be kept"


def counts_of(
    graph: Mapping[str, Any], path: str, width: int, blocks: Catalogue, fields: Mapping[str, str]
) -> Iterable[tuple[str, float, float, int]]:
    """Yields the path of each gate's count of latents kept, its range, and the width it stands in."""
    for label, spec in graph.items():
        here = f"{path}.{label}"
        if isinstance(spec, NestedSpec):
            yield from counts_of(parse_graph(spec.graph, f"{here}.graph", blocks), f"{here}.graph", spec.width, blocks, fields)
        elif blocks[spec.kind].slot == "gate" and spec.kind in fields and (known := _range_of(spec, blocks)) is not None:
            yield f"{here}.{fields[spec.kind]}", *known, width


def distinct_values(hole: Any) -> int | None:
    """Returns how many values a hole has; None where they cannot be counted."""
    if isinstance(hole, ChoiceHole):
        return len(hole.values)
    return hole.high - hole.low + 1 if isinstance(hole, IntHole) else None


def l0_range(spec: Any, blocks: Catalogue, rank: int) -> tuple[float, float] | None:
    """Returns the range of effective L0 of all gates together, or None where one of them cannot tell without training.

    First gates, whose codes only make other gates' pre-activations, count nothing. `rank`: that of paths past the codes, which comes on
    top.
    """
    gates = dict(_gates(spec.graph, "graph", blocks))
    before = first_gates(graph_at_any_width(spec, blocks)) if len(gates) > 1 else {}
    ranges = [_range_of(gate, blocks) for label, gate in gates.items() if label not in before]
    known = [found for found in ranges if found is not None]
    if not ranges or len(known) < len(ranges):
        return None
    return sum(low for low, _ in known) + rank, sum(high for _, high in known) + rank


def _range_of(spec: Any, blocks: Catalogue) -> tuple[float, float] | None:
    tell = getattr(blocks[spec.kind], "l0_range", None)
    return tell(spec) if tell else None


def _gates(graph: Mapping[str, Any], path: str, blocks: Catalogue, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yields the flat label and the settings of every gate."""
    for label, spec in graph.items():
        inner = f"{path}.{label}.graph"
        if isinstance(spec, NestedSpec):
            yield from _gates(parse_graph(spec.graph, inner, blocks), inner, blocks, f"{prefix}{label}/")
        elif blocks[spec.kind].slot == "gate":
            yield prefix + label, spec
