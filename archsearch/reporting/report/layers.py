"""Places for the boxes of a drawing: layers from the input down, few crossings, straight wires.

The usual steps for layered drawings: break cycles, put every box one layer below what it reads, stand a point in every layer a wire
passes, order each layer by its neighbours, then place the boxes of a layer as near to their neighbours as they fit.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

Node = Hashable
Edge = tuple[Node, Node]

_SWEEPS = 12
_SLIDES = 60
_STRAIGHT = (1.0, 2.0, 8.0)
"""How much a wire pulls its ends together, by how many of them are points it only passes: long wires run straight."""


@dataclass(frozen=True)
class Passing:
    """The point at which a long wire, the `edge`-th, passes through a layer."""

    edge: int
    layer: int


@dataclass(frozen=True)
class Layers:
    """Boxes and points by layer, from left to right.

    `chains`: for every edge, in order, what it goes through from its upper end to its lower one; `x`: the middle of each box and point.
    """

    rows: list[list[Node]]
    chains: list[list[Node]]
    x: dict[Node, float]

    @property
    def layer_of(self) -> dict[Node, int]:
        """Layer of every box and point."""
        return {node: index for index, row in enumerate(self.rows) for node in row}


def arrange(nodes: Sequence[Node], edges: Sequence[tuple[Edge, float]], widths: Mapping[Node, float], gap: float) -> Layers:
    """Returns places for `nodes`; of every edge its weight says how hard it pulls its ends above each other.

    An edge that would close a cycle with those before it runs upwards: its chain begins at its target.
    """
    return _arranged(tuple(nodes), tuple(edges), tuple(widths.items()), gap)


@lru_cache(maxsize=512)  # a study has many SAEs of one shape and few sizes of boxes
def _arranged(nodes: tuple[Node, ...], edges: tuple[tuple[Edge, float], ...], sizes: tuple[tuple[Node, float], ...], gap: float) -> Layers:
    widths = dict(sizes)
    downward = downwards(nodes, [edge for edge, _ in edges])
    depth = _depths(nodes, downward)
    chains = [[a, *[Passing(index, layer) for layer in range(depth[a] + 1, depth[b])], b] for index, (a, b) in enumerate(downward)]
    rows: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        rows[depth[node]].append(node)
    for chain in chains:
        for point in chain[1:-1]:
            assert isinstance(point, Passing)
            rows[point.layer].append(point)
    links = [link for chain in chains for link in pairwise(chain)]
    rows = _ordered(rows, links)
    pulls = [(link, weight) for chain, (_, weight) in zip(chains, edges, strict=True) for link in pairwise(chain)]
    return Layers(rows, chains, _placed(rows, pulls, widths, gap))


def downwards(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[Edge]:
    """Returns the edges, each turned round that would close a cycle with those before it."""
    below: dict[Node, set[Node]] = {node: set() for node in nodes}
    found = []
    for a, b in edges:
        upward = a == b or _reaches(below, b, a)
        found.append((b, a) if upward else (a, b))
        if a != b:
            below[found[-1][0]].add(found[-1][1])
    return found


def _reaches(below: Mapping[Node, set[Node]], start: Node, goal: Node) -> bool:
    seen, left = set[Node](), [start]
    while left:
        node = left.pop()
        if node == goal:
            return True
        if node not in seen:
            seen.add(node)
            left += below[node]
    return False


def _depths(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[Node, int]:
    depth = dict.fromkeys(nodes, 0)
    for _ in nodes:
        for a, b in edges:
            if a != b:
                depth[b] = max(depth[b], depth[a] + 1)
    return depth


def _ordered(rows: list[list[Node]], links: Sequence[Edge]) -> list[list[Node]]:
    """Returns the rows with few crossings: each sorted by the middle of its neighbours, downwards and upwards in turn."""
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    for a, b in links:
        below.setdefault(a, []).append(b)
        above.setdefault(b, []).append(a)
    best, fewest = [list(row) for row in rows], _crossings(rows, links)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for index in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            beside = {node: place for place, node in enumerate(rows[index - 1 if down else index + 1])}
            near = above if down else below
            places = [[beside[other] for other in near.get(node, []) if other in beside] for node in rows[index]]
            order = sorted(range(len(places)), key=[_middle(found, here) for here, found in enumerate(places)].__getitem__)
            rows[index] = [rows[index][place] for place in order]
        count = _crossings(rows, links)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    return best


def _middle(places: Sequence[float], otherwise: float) -> float:
    return sum(places) / len(places) if places else otherwise


def _crossings(rows: Sequence[Sequence[Node]], links: Sequence[Edge]) -> int:
    place = {node: (layer, index) for layer, row in enumerate(rows) for index, node in enumerate(row)}
    count = 0
    for index, (a, b) in enumerate(links):
        for c, d in links[index + 1 :]:
            if place[a][0] == place[c][0]:
                count += (place[a][1] - place[c][1]) * (place[b][1] - place[d][1]) < 0
    return count


def _placed(
    rows: Sequence[Sequence[Node]], links: Sequence[tuple[Edge, float]], widths: Mapping[Node, float], gap: float
) -> dict[Node, float]:
    pulls: dict[Node, list[tuple[Node, float]]] = {node: [] for row in rows for node in row}
    for (a, b), base in links:
        if a != b:
            weight = base * _STRAIGHT[isinstance(a, Passing) + isinstance(b, Passing)]
            pulls[a].append((b, weight))
            pulls[b].append((a, weight))
    x: dict[Node, float] = {}
    for row in rows:
        at = 0.0
        for node in row:
            x[node] = at + widths.get(node, 0.0) / 2
            at += widths.get(node, 0.0) + gap
        for node in row:
            x[node] -= (at - gap) / 2
    for slide in range(_SLIDES):
        for row in rows if slide % 2 == 0 else reversed(rows):
            wanted = [(_pulled(x, pulls[node], x[node]), sum(weight for _, weight in pulls[node]) or 0.1) for node in row]
            apart = [(widths.get(a, 0.0) + widths.get(b, 0.0)) / 2 + gap for a, b in pairwise(row)]
            x |= dict(zip(row, spaced(wanted, apart), strict=True))
    return x


def _pulled(x: Mapping[Node, float], pulls: Sequence[tuple[Node, float]], otherwise: float) -> float:
    weight = sum(w for _, w in pulls)
    return sum(x[node] * w for node, w in pulls) / weight if weight else otherwise


def spaced(wanted: Sequence[tuple[float, float]], apart: Sequence[float]) -> list[float]:
    """Returns places in order, at least `apart` from one to the next, nearest to the `wanted` ones (place and weight; least squares)."""
    offsets = [0.0]
    for distance in apart:
        offsets.append(offsets[-1] + distance)
    blocks: list[list[float]] = []  # sum of weighted places, weight, count: pooled while they would fall out of order
    for (place, weight), offset in zip(wanted, offsets, strict=False):
        blocks.append([(place - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    level = [total / weight for total, weight, count in blocks for _ in range(int(count))]
    return [value + offset for value, offset in zip(level, offsets, strict=False)]
