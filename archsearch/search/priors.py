"""Priors: values of holes drawn around where a space's author expects good ones.

A prior moves where a study looks, never what is legal, and only for part of its asks: the first is the priors themselves, then one in
`EARLY` is drawn around them while the sampler has little to learn from, and later one in `LATER`. So a wrong prior costs a share of the
asks and no more. Random draws learn nothing; there, priors simply are what is drawn from.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from archsearch.spec.holes import ChoiceHole, IntHole, Primitive, ValueHole
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import Space

SPREAD = 0.2
"""Standard deviation of a number around its prior, as a share of its range (on the hole's own scale, log or linear)."""

LIKELY = 0.5
"""Share of draws in which a choice is its prior; in the others all its values are equally likely."""

EARLY, LATER = 2, 5
"""One ask in as many is drawn around the priors, during the sampler's start-up and after it.

With all of the start-up drawn so, a wrong prior took twice the trials on a planted objective, and a right one gained little more.
"""

_FINE = 2**53


def priors_of(space: Space) -> dict[str, ValueHole]:
    """Returns the holes of a space that have a prior, by name."""
    return {name: parameter.hole for name, parameter in space.parameters().items() if parameter.hole.prior}


def around(hole: ValueHole, name: str, *seed: str | int) -> Primitive:
    """Returns a value of a hole drawn around its prior, from the seed and the hole's name alone.

    A number is normal on the hole's own scale, cut off at the ends of its range; a choice is its prior, or else any of its values.
    """
    place = (seed_of("prior", *seed, name) % _FINE + 0.5) / _FINE
    if isinstance(hole, ChoiceHole):
        shifted = (place - LIKELY) / (1 - LIKELY)
        return hole.prior[0] if shifted < 0 else hole.values[int(shifted * len(hole.values))]
    half = 0.5 if isinstance(hole, IntHole) else 0.0  # so that whole numbers at the ends get as much as their neighbours
    low, high, middle = (math.log(value) if hole.log else value for value in (hole.low - half, hole.high + half, hole.prior[0]))
    bell = NormalDist(middle, SPREAD * (high - low))
    first, last = bell.cdf(low), bell.cdf(high)
    found = bell.inv_cdf(first + place * (last - first))
    raw = math.exp(found) if hole.log else found
    return min(max(round(raw) if isinstance(hole, IntHole) else raw, hole.low), hole.high)
