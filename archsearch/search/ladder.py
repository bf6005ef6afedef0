"""The ladder: who goes on after a share of the run, judged against everyone measured there."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = tuple[float, float]
"""Two objectives, both minimised (effective L0 as a logarithm)."""

EDGE = 1.1
"""Where the reference of hypervolume contributions lies, the worst of all being 1: those at the ends of a front count for something too."""


def goes_on(seen: Sequence[Vector], index: int, eta: float) -> bool:
    """Tells whether the member at `index` goes on, given the vectors of all measured at the same rung (its own among them).

    Members of the front always go on, and so does everybody while no more than `eta` are there. Of the others the first `1 / eta` of all
    go on: by front (the layers left when earlier ones are taken away), within one by what a member adds to its hypervolume.

    Optuna refuses to prune with several objectives; published rules that order by one objective, or by layer alone, keep the wrong ones.
    """
    if len(seen) <= eta:
        return True
    places = order(seen)
    return places[index] < math.ceil(len(seen) / eta) or _layers(seen)[index] == 0


def order(seen: Sequence[Vector]) -> list[int]:
    """Returns the place of each vector, 0 the best: by layer, then by hypervolume contribution within it, then by order of arrival."""
    layers = _layers(seen)
    added = [0.0] * len(seen)
    unit = _unit(seen)
    for layer in set(layers):
        members = [index for index, own in enumerate(layers) if own == layer]
        for index, volume in zip(members, _contributions([unit[index] for index in members]), strict=True):
            added[index] = volume
    ranked = sorted(range(len(seen)), key=lambda index: (layers[index], -added[index], index))
    places = [0] * len(seen)
    for place, index in enumerate(ranked):
        places[index] = place
    return places


def _layers(seen: Sequence[Vector]) -> list[int]:
    """Returns each vector's layer: 0 for the front, 1 for the front of what is left without it, and so on.

    Vectors sorted by the first objective are put on the first layer whose last member has a greater second one; equal vectors share one.
    """
    found, lasts = [0] * len(seen), list[Vector]()
    for index in sorted(range(len(seen)), key=lambda index: seen[index]):
        layer = next((at for at, last in enumerate(lasts) if seen[index][1] < last[1] or seen[index] == last), len(lasts))
        lasts[layer : layer + 1] = [seen[index]]
        found[index] = layer
    return found


def _unit(seen: Sequence[Vector]) -> list[Vector]:
    """Returns the vectors with each objective spread over 0 to 1."""
    spans = [(min(column), max(column)) for column in zip(*seen, strict=True)]
    first, second = ([(v - low) / (high - low) if high > low else 0.0 for v in col] for col, (low, high) in zip(zip(*seen), spans))
    return list(zip(first, second, strict=True))


def _contributions(layer: Sequence[Vector]) -> list[float]:
    """Returns what each vector of one layer adds to the area they dominate up to `EDGE`; nothing where an equal one is there too."""
    ranked = sorted(range(len(layer)), key=lambda index: layer[index])
    added = [0.0] * len(layer)
    for at, index in enumerate(ranked):
        right = layer[ranked[at + 1]][0] if at + 1 < len(ranked) else EDGE
        above = layer[ranked[at - 1]][1] if at else EDGE
        added[index] = max(right - layer[index][0], 0.0) * max(above - layer[index][1], 0.0)
    return added
