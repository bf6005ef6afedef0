"""Colours of the report, in both schemes: the one place that holds them.

Words have a contrast of 4.5 or more on every surface they stand on, marks in plots 3 or more; the series are told apart by readers of every
kind of sight, and by their markers besides.
"""

from __future__ import annotations

LIGHT = {
    "page": "#ffffff",
    "surface": "#f5f6f8",
    "ink": "#1a1d21",
    "muted": "#545b64",
    "line": "#cfd4da",
    "grid": "#e4e7eb",
    "accent": "#0a55b5",
}
DARK = {
    "page": "#14171b",
    "surface": "#1e2227",
    "ink": "#e9ebee",
    "muted": "#a9b1bb",
    "line": "#414850",
    "grid": "#2b3036",
    "accent": "#7fb8ff",
}

SERIES_LIGHT = (
    "#0A58CA", "#A63C00", "#1F7F78", "#6E2490", "#AD7A00", "#3E8CE6", "#6F8238", "#3A1440", "#0E4A2A", "#7E6349", "#C2457F"
)  # fmt: skip
SERIES_DARK = (
    "#6FB4F2", "#D07A1E", "#2FE39A", "#B478A4", "#F3EC3C", "#CFF5EC", "#EDC35A", "#8E6BE0", "#4C9B60", "#BFAE9C", "#FF8FA8"
)  # fmt: skip

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "x", "triangle-down", "star")
"""Markers by plotly's names, taken in turn; their number shares no factor with that of the colours."""

MARKERS = ("o", "s", "^", "D", "P", "X", "v", "*")
"""The same markers by matplotlib's names."""

_GLYPHS = {
    "circle": "M6 1.5a4.5 4.5 0 1 0 .01 0Z",
    "square": "M2 2h8v8h-8Z",
    "triangle-up": "M6 1.2L11 10H1Z",
    "diamond": "M6 .8L11.2 6 6 11.2 .8 6Z",
    "cross": "M4.4 1h3.2v3.4H11v3.2H7.6V11H4.4V7.6H1V4.4h3.4Z",
    "x": "M3 1l3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3-3-3Z",
    "triangle-down": "M6 10.8L1 2h10Z",
    "star": "M6 .6l1.6 3.5 3.9.4-2.9 2.6.8 3.9L6 9l-3.4 2 .8-3.9L.5 4.5l3.9-.4Z",
}


def style_of(index: int) -> tuple[int, str, str]:
    """Returns which colour, and which marker in plotly's and matplotlib's names, the `index`-th series of a study has."""
    return index % len(SERIES_LIGHT), SYMBOLS[index % len(SYMBOLS)], MARKERS[index % len(MARKERS)]


def glyph(index: int, hollow: bool = False) -> str:
    """Returns the marker of a series as a small inline SVG."""
    colour, symbol, _ = style_of(index)
    look = f"fill:none;stroke:var(--s{colour});stroke-width:1.6" if hollow else f"fill:var(--s{colour})"
    return f'<svg class="glyph" viewBox="-1 -1 14 14" aria-hidden="true"><path d="{_GLYPHS[symbol]}" style="{look}"/></svg>'


def variables() -> str:
    """Returns both schemes as CSS variables; the reader's system chooses."""
    light = _declared({**LIGHT, **{f"s{i}": colour for i, colour in enumerate(SERIES_LIGHT)}})
    dark = _declared({**DARK, **{f"s{i}": colour for i, colour in enumerate(SERIES_DARK)}})
    return f":root{{color-scheme:light dark;{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def _declared(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())
