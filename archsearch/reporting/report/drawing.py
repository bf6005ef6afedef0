"""An SAE as a picture of boxes and arrows, in SVG: for a page that styles it, or as a file of its own."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from archsearch.reporting.report.boxes import INPUT, LOSS, NESTED, OUTPUT, Diagram, diagram, united
from archsearch.reporting.report.geometry import Line, Placed, Plan, plan
from archsearch.reporting.report.palette import LIGHT

_HEAD, _STOP = 7.0, 15.0
"""Pixels: length of an arrow's head; how far from its tip a mark of a stopped gradient stands."""

READING = "Read from the top. Solid: computed from the row; dashed: terms of the loss; dotted: parameters and state; || gradient stopped."


def draw(specs: Sequence[Mapping[str, Any]], words: str) -> str:
    """Returns SAE specs of one shape as a single inline SVG, numbers that differ among them as ranges; `words`: its name to a reader."""
    return svg(united([diagram(spec) for spec in specs]), words)


def svg(shown: Diagram, words: str, standalone: bool = False) -> str:
    """Returns a diagram as SVG text; `standalone`: with its own colours and background, to be a file."""
    made = plan(shown)
    described = html.escape(f"{words}. {_in_sentences(shown)}", quote=True)
    size = f'width="{made.width:.0f}" height="{made.height:.0f}" viewBox="0 0 {made.width:.0f} {made.height:.0f}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="sae" role="img" aria-label="{described}" {size}>'
    own = f'<style>{_style()}</style><rect width="100%" height="100%" fill="#ffffff"/>' if standalone else ""
    return "".join([opening, own, *_plan(made), "</svg>"])


def _plan(made: Plan) -> Iterator[str]:
    for placed in made.boxes:
        yield from _box(placed)
    for line in made.lines:
        yield from _line(line)


def _box(placed: Placed) -> Iterator[str]:
    box = placed.box
    radius = placed.height / 2 if box.slot in (INPUT, OUTPUT) else 5
    look = {INPUT: "end", OUTPUT: "end", LOSS: "loss", NESTED: "nest"}.get(box.slot, "gate" if box.slot == "gate" else "block")
    at = f'x="{placed.x:.1f}" y="{placed.y:.1f}" width="{placed.width:.1f}" height="{placed.height:.1f}"'
    yield f'<rect class="{look}" {at} rx="{radius:.1f}"/>'
    for text in placed.texts:
        yield f'<text class="{text.role}" x="{text.x:.1f}" y="{text.y:.1f}">{html.escape(text.text)}</text>'
    if placed.inside:
        yield from _plan(placed.inside)


def _line(line: Line) -> Iterator[str]:
    look = "param" if line.arrow.parameter else "term" if line.arrow.target.startswith(f"{LOSS}/") else "flow"
    (x, y), before = line.stops[-1], line.stops[-2]
    up = before[1] > y
    back = y + _HEAD - 1 if up else y - _HEAD + 1
    yield f'<path class="{look}" d="{_path([*line.stops[:-1], (x, back)])}"/>'
    side = y + _HEAD if up else y - _HEAD
    yield f'<path class="head {look}" d="M{x:.1f} {y:.1f}L{x - 3.5:.1f} {side:.1f}L{x + 3.5:.1f} {side:.1f}Z"/>'
    if line.arrow.detach:
        at = y + _STOP if up else y - _STOP
        yield f'<path class="stop" d="M{x - 6:.1f} {at:.1f}h12M{x - 6:.1f} {at + 4:.1f}h12"/>'


def _path(stops: Sequence[tuple[float, float]]) -> str:
    parts = [f"M{stops[0][0]:.1f} {stops[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(stops):
        half = (y0 + y1) / 2
        parts.append(f"V{y1:.1f}" if abs(x0 - x1) < 0.05 else f"C{x0:.1f} {half:.1f} {x1:.1f} {half:.1f} {x1:.1f} {y1:.1f}")
    return "".join(parts)


def _in_sentences(shown: Diagram) -> str:
    """Returns what a drawing shows, for those who do not see it: which box reads what."""
    named = {box.id: (box.label if box.slot in (INPUT, OUTPUT) else f"{box.label} ({box.kind})") for box in shown.boxes}
    parts = []
    for box in shown.boxes:
        read = list(dict.fromkeys(named[arrow.source].split(" (")[0] for arrow in shown.arrows if arrow.target == box.id))
        if read:
            what = "the output" if box.slot == OUTPUT else named[box.id]
            parts.append(f"{what} reads {', '.join(read)}")
        if box.inside:
            parts.append(f"inside {box.label}: {_in_sentences(box.inside)}")
    return "; ".join(parts)


def _style() -> str:
    ink, muted, line, surface, accent = (LIGHT[name] for name in ("ink", "muted", "line", "surface", "accent"))
    return (
        f"text{{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;text-anchor:middle;fill:{ink}}}"
        f".kind{{font-size:13px;font-weight:600}}.label,.setting{{font-size:11px;fill:{muted}}}.port{{font-size:10px;fill:{muted}}}"
        f"rect.block,rect.end,rect.loss{{fill:{surface};stroke:{muted};stroke-width:1.2}}rect.loss{{stroke-dasharray:5 3}}"
        f"rect.gate{{fill:{surface};stroke:{accent};stroke-width:2}}rect.nest{{fill:none;stroke:{line};stroke-width:1.5}}"
        f"path{{fill:none;stroke:{ink};stroke-width:1.3}}path.term{{stroke:{muted};stroke-dasharray:5 3}}"
        f"path.param{{stroke:{muted};stroke-dasharray:1.5 3}}path.head{{fill:{ink};stroke:none}}path.stop{{stroke:{ink};stroke-width:1.6}}"
    )
