"""SAEs asked for an L0 end a little off it: whoever ends lower has won nothing."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.search.climb import Climb
from archsearch.search.records import as_asked
from archsearch.search.sampler import Sampling
from archsearch.search.study import asked_of
from archsearch.spec.ladder import LadderSpec
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from tests.search.test_late_bloomers import Notebook, member

LEVELS = (8, 16, 32, 64)
SPACE = """
name: undershooting
sae:
  width: 512
  graph: {encoder: linear_encoder, gate: topk, decoder: linear_decoder}
  training: {optimizer: {kind: adam, lr: {float: [0.001, 0.1], log: true}}}
variants: {gate: {oneof: {a: {}, b: {graph.gate: abs_topk}, c: {graph.gate: batch_topk}, d: {graph.gate: groupmax}}}}
study: {sweep: {l0: [8, 16, 32, 64]}}
"""


@pytest.mark.parametrize(
    ("l0", "levels", "counts"),
    [(8.7, LEVELS, 8), (7.3, LEVELS, 8), (9.0, LEVELS, 9.0), (7.1, LEVELS, 7.1), (15.0, (15, 16), 15), (8.7, (), 8.7), (0.0, LEVELS, 0.0)],
)
def test_what_is_met_counts_as_asked(l0: float, levels: tuple[int, ...], counts: float) -> None:
    assert as_asked(l0, levels) == counts


def test_a_range_of_l0s_asks_for_none_of_them() -> None:
    data = loads(
        SPACE.replace("study: {sweep: {l0: [8, 16, 32, 64]}}", "").replace("width: 512", "width: 512\n  target_l0: {float: [10, 100]}")
    )
    assert asked_of(Space.read(data)) == () and asked_of(Space.read(loads(SPACE))) == LEVELS


def asked(levels: tuple[int, ...]) -> int:
    """Returns how many of forty late asks go to the branch that undershoots by three percent, and is far worse, at every level."""
    space = Space.read(loads(SPACE))
    sampling = Sampling("sqlite://", "undershooting", "tpe", 0, ("l0", "fvu"), (4.0, 80.0), holes=space.parameters(), levels=levels)
    picked: list[bool] = []
    for number in range(60):
        trial = sampling.ask(number)
        params = space.fill(trial).params
        low = params["gate"] == "d"
        picked.append(low)
        told = [trial, *(sampling.ask_fixed(params) for _ in LEVELS[1:])]
        for place, (one, level) in enumerate(zip(told, LEVELS)):
            l0 = level * (0.97 if low else 1.0 + 0.001 * (number % 7))
            fvu = (0.5 if low else 0.25 + 0.01 * (params["gate"] == "a")) * 0.7**place
            sampling.tell(one.number, {"l0": l0, "fvu": fvu}, {})
    return sum(picked[20:])


def test_the_sampler_does_not_go_after_a_gate_that_undershoots() -> None:
    assert asked(LEVELS) <= 6 < asked(())


def test_the_ladder_stops_a_bad_sae_that_ends_a_hair_lower() -> None:
    for levels, stopped in ((LEVELS, True), ((), False)):
        ledger: Any = Notebook()
        sampling = Sampling("sqlite://", "ladder", "random", 0, ("l0", "fvu"), (1.0, 64.0), levels=levels)
        climb = Climb(ledger, sampling, LadderSpec.model_validate({"rungs": [0.5], "eta": 3}))
        members = {number: member(0.0) for number in range(9)}
        found: dict[int, Any] = {}
        for number, one in members.items():
            climb.passes(number, 0.5, one)
            found[number] = {"l0": 7.9 if number == 4 else 8.0, "fvu": 0.9 if number == 4 else 0.2 + 0.01 * number}
        assert (4 in climb.stopped(0.5, 0, -1, members, set(), found)) is stopped
