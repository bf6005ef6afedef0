"""Sizes and places of everything in a drawing of an SAE: boxes, the names of ports on their edges, wires as lines between them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from archsearch.reporting.report.boxes import INPUT, LOSS, NESTED, OUTPUT, Arrow, Box, Diagram
from archsearch.reporting.report.layers import Layers, Node, arrange, downwards

LINE, PAD, GAP, LAYER_GAP, PORTS = 15.0, 9.0, 26.0, 42.0, 15.0
"""Pixels: a line of text; space inside a box; between boxes of a layer; between layers; a row of port names."""

_COLUMNS = 30
_NARROW, _WIDE = frozenset("iljtfr.,:;'|!() "), frozenset("mwMW@%")


@dataclass(frozen=True)
class Text:
    """A line of text in a box: its middle, its baseline, and what it is (`label`, `kind`, `setting`, `port`)."""

    x: float
    y: float
    text: str
    role: str


@dataclass(frozen=True)
class Placed:
    """A box with its upper left corner, its size, its texts and what is drawn inside it (in the drawing's own coordinates)."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    texts: tuple[Text, ...]
    inside: Plan | None = None


@dataclass(frozen=True)
class Line:
    """A wire as stops from its source's edge to its target's: straight down or up between stops of one x, a curve between others."""

    arrow: Arrow
    stops: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plan:
    """A whole drawing in pixels."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    lines: tuple[Line, ...]


@dataclass
class _Slot:
    """Where wires meet an edge of a box: a port, or an output that may go several ways."""

    name: str
    near: list[float] = field(default_factory=list)
    x: float = 0.0


_Key = tuple[str, str, int | str]
"""Box, edge (`top` or `bottom`) and which slot there: the arrow's number for a port, the name of an output."""


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Returns a cautious guess of how wide text is in a plain font (pixels)."""
    ems = sum(0.92 if c in _WIDE else 0.36 if c in _NARROW else 0.72 if c.isupper() else 0.62 for c in text)
    return ems * size * (1.15 if bold else 1.0)


def plan(shown: Diagram) -> Plan:
    """Returns where everything in a drawing stands; the upper left corner is the origin."""
    return _Planner(shown).run()


class _Planner:
    def __init__(self, shown: Diagram):
        self.shown = shown
        self.nodes = [box.id for box in shown.boxes]
        self.arrows = sorted(shown.arrows, key=lambda arrow: arrow.parameter)  # what flows decides; the rest follows
        self.edges = [((arrow.source, arrow.target), _pull(arrow)) for arrow in self.arrows]
        self.inner = {box.id: plan(box.inside) for box in shown.boxes if box.inside}
        self.slots: dict[_Key, _Slot] = {}
        self.ends: list[tuple[_Key, _Key]] = []

    def run(self) -> Plan:
        self._meet()
        sizes = {box.id: self._size(box) for box in self.shown.boxes}
        layers = arrange(self.nodes, self.edges, {id: width for id, (width, _) in sizes.items()}, GAP)
        tops, bottoms = self._heights(layers, sizes)
        halves = {node: sizes[node][0] / 2 if isinstance(node, str) else 0.0 for node in layers.x}
        left = min((layers.x[node] - half for node, half in halves.items()), default=0.0) - 2
        x = {node: place - left for node, place in layers.x.items()}
        self._slide(layers, x, sizes)
        layer_of = layers.layer_of
        boxes = [self._placed(box, x[box.id], tops[layer_of[box.id]], sizes[box.id]) for box in self.shown.boxes]
        by_id = {placed.box.id: placed for placed in boxes}
        lines = [self._line(index, chain, by_id, x, layer_of, tops, bottoms) for index, chain in enumerate(layers.chains)]
        right = max((x[node] + half for node, half in halves.items()), default=0.0) + 2
        return Plan(right, max(bottoms, default=0.0) + 2, tuple(boxes), tuple(lines))

    def _meet(self) -> None:
        """Notes on which edge of which box every wire begins and ends."""
        directed = downwards(self.nodes, [edge for edge, _ in self.edges])
        for index, (arrow, (upper, _)) in enumerate(zip(self.arrows, directed, strict=True)):
            down = upper == arrow.source
            leaves: _Key = (arrow.source, "bottom" if down else "top", arrow.output)
            arrives: _Key = (arrow.target, "top" if down else "bottom", index)
            self.slots.setdefault(leaves, _Slot(arrow.output))
            self.slots[arrives] = _Slot(arrow.port)
            self.ends.append((leaves, arrives))

    def _on(self, id: str, edge: str) -> list[_Slot]:
        return [slot for (box, side, _), slot in self.slots.items() if box == id and side == edge]

    def _named(self, id: str, edge: str) -> bool:
        return len({slot.name for slot in self._on(id, edge)}) > 1

    def _size(self, box: Box) -> tuple[float, float]:
        width = max([text_width(text, *_font(role)) for text, role in _words(box)]) + 2 * PAD
        height = len(_words(box)) * LINE + 2 * PAD - 4
        for edge in ("top", "bottom"):
            if self._named(box.id, edge):
                width = max(width, sum(text_width(slot.name, 10) + 14 for slot in self._on(box.id, edge)))
                height += PORTS
            width = max(width, 18.0 * len(self._on(box.id, edge)))
        if box.id in self.inner:
            width = max(width, self.inner[box.id].width + 2 * PAD)
            height += self.inner[box.id].height + PAD
        return max(width, 46.0), height

    def _heights(self, layers: Layers, sizes: Mapping[str, tuple[float, float]]) -> tuple[list[float], list[float]]:
        tops, bottoms, y = [], [], 2.0
        for row in layers.rows:
            tops.append(y)
            y += max((sizes[node][1] for node in row if isinstance(node, str)), default=0.0)
            bottoms.append(y)
            y += LAYER_GAP
        return tops, bottoms

    def _slide(self, layers: Layers, x: Mapping[Node, float], sizes: Mapping[str, tuple[float, float]]) -> None:
        """Spreads the slots of every edge over its box, in the order of what they lead to."""
        for (leaves, arrives), chain in zip(self.ends, layers.chains, strict=True):
            near_source, near_target = (chain[1], chain[-2]) if chain[0] == leaves[0] else (chain[-2], chain[1])
            self.slots[leaves].near.append(x[near_source])
            self.slots[arrives].near.append(x[near_target])
        for box in self.shown.boxes:
            for edge in ("top", "bottom"):
                found = sorted(self._on(box.id, edge), key=lambda slot: sum(slot.near) / len(slot.near))
                wide = [text_width(slot.name, 10) + 14 for slot in found] if self._named(box.id, edge) else [1.0] * len(found)
                at = x[box.id] - sizes[box.id][0] / 2
                for slot, share in zip(found, wide, strict=True):
                    room = sizes[box.id][0] * share / sum(wide)
                    slot.x = at + room / 2
                    at += room

    def _placed(self, box: Box, middle: float, top: float, size: tuple[float, float]) -> Placed:
        width, height = size
        y, texts = top, list[Text]()
        if self._named(box.id, "top"):
            texts += [Text(slot.x, y + 11, slot.name, "port") for slot in self._on(box.id, "top")]
            y += PORTS
        y += PAD - 2
        for text, role in _words(box):
            texts.append(Text(middle, y + LINE - 4, text, role))
            y += LINE
        if self._named(box.id, "bottom"):
            texts += [Text(slot.x, top + height - 5, slot.name, "port") for slot in self._on(box.id, "bottom")]
        inside = self.inner.get(box.id)
        moved = _moved(inside, middle - inside.width / 2, y + PAD / 2) if inside else None
        return Placed(box, middle - width / 2, top, width, height, tuple(texts), moved)

    def _line(
        self,
        index: int,
        chain: Sequence[Node],
        boxes: Mapping[str, Placed],
        x: Mapping[Node, float],
        layer_of: Mapping[Node, int],
        tops: Sequence[float],
        bottoms: Sequence[float],
    ) -> Line:
        arrow, (leaves, arrives) = self.arrows[index], self.ends[index]
        down = chain[0] == leaves[0]
        upper, lower = (leaves, arrives) if down else (arrives, leaves)
        begin, end = boxes[upper[0]], boxes[lower[0]]
        stops = [(self.slots[upper].x, begin.y + begin.height)]
        stops.append((self.slots[upper].x, bottoms[layer_of[upper[0]]]))
        for point in chain[1:-1]:
            stops += [(x[point], tops[layer_of[point]]), (x[point], bottoms[layer_of[point]])]
        stops.append((self.slots[lower].x, end.y))
        kept = [stops[0], *[b for a, b in pairwise(stops) if a != b]]
        return Line(arrow, tuple(kept if down else reversed(kept)))


def _pull(arrow: Arrow) -> float:
    """Returns how much a wire matters to what stands above what: what is computed makes the spine, the rest goes round it."""
    return 1.0 if arrow.parameter or arrow.target.startswith(f"{LOSS}/") or arrow.source.startswith("in/") else 6.0


def _words(box: Box) -> list[tuple[str, str]]:
    """Returns the lines of a box: its label where that says more than its kind, its kind, its settings."""
    if box.slot in (INPUT, OUTPUT):
        return [(box.label if box.slot == INPUT else f"{box.label} rebuilt" if box.label != "reconstruction" else box.label, "label")]
    label = [(box.label, "label")] if box.label != box.kind else []
    settings = [part for text in box.settings for part in textwrap.wrap(text, _COLUMNS) or [text]]
    if box.slot == NESTED:
        return [*label, (", ".join([box.kind, *settings]), "kind")]
    return [*label, (box.kind, "kind"), *[(text, "setting") for text in settings]]


def _font(role: str) -> tuple[float, bool]:
    return {"kind": (13.0, True), "label": (11.0, False), "setting": (11.0, False)}[role]


def _moved(inner: Plan, dx: float, dy: float) -> Plan:
    """Returns a drawing shifted, with all that is inside it."""
    boxes = tuple(
        Placed(
            b.box,
            b.x + dx,
            b.y + dy,
            b.width,
            b.height,
            tuple(Text(t.x + dx, t.y + dy, t.text, t.role) for t in b.texts),
            _moved(b.inside, dx, dy) if b.inside else None,
        )
        for b in inner.boxes
    )
    lines = tuple(Line(line.arrow, tuple((x + dx, y + dy) for x, y in line.stops)) for line in inner.lines)
    return Plan(inner.width, inner.height, boxes, lines)
