from __future__ import annotations

import random
from itertools import pairwise, product

import pytest

from archsearch.search.ladder import EDGE, goes_on, order


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b)) and a != b


def peeled(seen):
    """Layers by definition: what nothing left dominates, again and again."""
    left, layers, layer = set(range(len(seen))), [0] * len(seen), 0
    while left:
        now = {i for i in left if not any(dominates(seen[j], seen[i]) for j in left)}
        for i in now:
            layers[i] = layer
        left, layer = left - now, layer + 1
    return layers


def area(points):
    """Area dominated up to the reference, counted cell by cell."""
    xs, ys = (sorted({p[axis] for p in points} | {EDGE}) for axis in (0, 1))
    cells = product(pairwise(xs), pairwise(ys))
    return sum((x1 - x0) * (y1 - y0) for (x0, x1), (y0, y1) in cells if any(p[0] <= x0 and p[1] <= y0 for p in points))


def by_definition(seen):
    layers = peeled(seen)
    spans = [(min(p[axis] for p in seen), max(p[axis] for p in seen)) for axis in (0, 1)]
    unit = [tuple((p[a] - lo) / (hi - lo) if hi > lo else 0.0 for a, (lo, hi) in enumerate(spans)) for p in seen]
    added = []
    for i in range(len(seen)):
        mates = [unit[j] for j in range(len(seen)) if layers[j] == layers[i]]
        others = [unit[j] for j in range(len(seen)) if layers[j] == layers[i] and j != i]
        added.append(area(mates) - (area(others) if others else 0.0))
    return layers, added


@pytest.mark.parametrize("seed", range(30))
def test_the_order_is_that_of_the_definition(seed):
    draw = random.Random(seed)
    grid = 5 if seed % 3 == 0 else 10**6  # ties and equal vectors in a third of the cases
    seen = [(draw.randrange(grid) / grid, draw.randrange(grid) / grid) for _ in range(draw.randrange(2, 25))]
    layers, added = by_definition(seen)
    best_first = sorted(range(len(seen)), key=order(seen).__getitem__)
    keys = [(layers[i], -added[i]) for i in best_first]
    assert all(a[0] < b[0] or (a[0] == b[0] and a[1] <= b[1] + 1e-9) for a, b in pairwise(keys))


def test_the_front_goes_on_and_the_rest_must_be_among_the_first():
    front = [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    behind = [(0.6, 0.7), (0.9, 0.9), (2.0, 2.0)]
    seen = front + behind
    assert [goes_on(seen, index, eta=1.5) for index in range(6)] == [True, True, True, True, False, False]
    assert [goes_on(seen, index, eta=3) for index in range(6)] == [True, True, True, False, False, False]


def test_nobody_is_stopped_before_there_is_something_to_compare_with():
    assert all(goes_on([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)], index, eta=3) for index in range(3))


def test_more_of_the_true_front_is_kept_than_of_anything_behind_it():
    """Noisy early values of points with a known final front: the share that goes on falls with the true layer."""
    draw, kept = random.Random(1), {layer: [] for layer in range(4)}
    for _ in range(60):
        true = [(draw.random(), draw.random()) for _ in range(40)]
        early = [(a + draw.gauss(0, 0.05), b + draw.gauss(0, 0.05)) for a, b in true]
        for index, layer in enumerate(peeled(true)):
            if layer in kept:
                kept[layer].append(goes_on(early, index, eta=3))
    shares = [sum(found) / len(found) for found in kept.values()]
    assert all(first > second for first, second in pairwise(shares))
    assert shares[0] > 0.9
