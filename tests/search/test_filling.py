"""Quotas: levels are aimed at parts of the band that a sweep over a hole has left empty."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.blocks.catalogue import catalogue
from archsearch.search.filling import fill, quota
from archsearch.search.jobs import Draw, levels_of
from archsearch.search.records import TrialRecord
from archsearch.search.scale import Scale
from archsearch.spec.holes import ChoiceHole, FloatHole, IntHole
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads

BAND = (2.0, 64.0)

SPACE = """
name: steep
activations: {source: synthetic, features: 48, model: 16, active: 3}
sae:
  width: 128
  graph: {center: pre_bias, encoder: linear_encoder, gate: relu, decoder: linear_decoder}
  training: {tokens: 64000, batch: 64, optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}}}
variants:
  gate:
    oneof:
      relu: {losses.sparsity: {kind: l1, weight: WEIGHT}}
      topk: {graph.gate: {kind: topk, k: COUNT}}
study: {trials: 400, sweep: 4, band: [2, 64]}
"""

Map = Callable[[dict[str, Any]], float]


def space_of(weight: str = "{float: [0.1, 100], log: true}", count: str = "{choice: [1]}", sweep: str = "4") -> Space:
    return Space.read(loads(SPACE.replace("WEIGHT", weight).replace("COUNT", count).replace("sweep: 4", f"sweep: {sweep}")))


def told(number: int, ask: int, params: dict[str, Any], l0: float, fvu: float = 0.5, **changes: Any) -> TrialRecord:
    place = {"number": number, "ask": ask, "level": 0, "state": "complete", "spec": {}, "words": "", "arch": "", "run": str(number)}
    return TrialRecord(**{**place, "params": params, "measurements": {"l0": l0, "fvu": fvu}, **changes})


def relu(weight: float, lr: float = 0.003) -> dict[str, Any]:
    return {"gate": "relu", "gate@relu.losses.sparsity.weight": weight, "training.optimizer.lr": lr}


def weights(found: list[dict[str, Any]] | None) -> list[float]:
    return [params["gate@relu.losses.sparsity.weight"] for params in found or []]


def steep(power: float) -> Map:
    """L0 as a steep power of the penalty, so that nearly all of its range is dense or dead; the count of a gate is its L0."""

    def l0(params: dict[str, Any]) -> float:
        if params["gate"] == "topk":
            return float(params["gate@topk.graph.gate.k"])
        dense = 128 / (1 + (params["gate@relu.losses.sparsity.weight"] / (1 + 100 * params["training.optimizer.lr"])) ** power)
        return dense if dense > 0.05 else 0.0

    return l0


def study(space: Space, l0: Map, asks: int, filling: bool, seed: int = 0) -> list[TrialRecord]:
    """Returns the trials of a made-up study: structures drawn at random, every fourth ask aimed at what is empty."""
    trials: list[TrialRecord] = []
    for ask in range(asks):
        found = fill(space, catalogue().sparsity, trials, BAND, seed, ask) if filling and ask % 4 == 3 else None
        if found is None:
            drawn = space.fill(Draw(seed, ask + 1, {}))
            hole = space.sparsity_hole(drawn, catalogue().sparsity)
            assert hole is not None
            values = levels_of(space.parameters()[hole].hole, drawn.params[hole], space.study.levels)
            found = [{**drawn.params, hole: value} for value in values]
        for params in found:
            assert space.refill(params).params == params  # legal, and nothing to it or missing
            trials.append(told(len(trials), ask, params, l0(params)))
    return trials


def octaves_met(trials: list[TrialRecord]) -> set[int]:
    return {math.floor(math.log2(t.measurements["l0"])) for t in trials if BAND[0] <= t.measurements["l0"] < BAND[1]}


ALL = {1, 2, 3, 4, 5}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("power", [8, 20])
def test_every_octave_of_the_band_is_filled_however_steep_the_map(power: float, seed: int) -> None:
    space = space_of()
    filled, left = (octaves_met(study(space, steep(power), 24, kind, seed)) for kind in (True, False))
    assert filled == ALL and (left != ALL or power == 8)


def test_counts_and_choices_of_numbers_are_filled_too() -> None:
    for count in ("{int: [1, 4000]}", f"{{choice: {[*range(1, 64), *range(64, 4000, 20)]}}}"):
        space = space_of(weight="{float: [1000, 2000]}", count=count)  # penalties that leave nothing
        assert octaves_met(study(space, steep(20), 28, True)) == ALL
        assert octaves_met(study(space, steep(20), 28, False)) != ALL


def fill_of(trials: list[TrialRecord], space: Space | None = None, ask: int = 3) -> list[dict[str, Any]] | None:
    return fill(space or space_of(), catalogue().sparsity, trials, BAND, 0, ask)


STEEP = [(0.5, 128.0), (1.0, 60.0), (2.0, 3.0), (4.0, 2.5)]


def test_levels_are_aimed_evenly_inside_the_widest_empty_stretch() -> None:
    trials = [told(i, 0, relu(weight), l0, 0.1 + 0.1 * i) for i, (weight, l0) in enumerate(STEEP)]
    found = fill_of(trials)
    assert weights(found) == pytest.approx([2**share for share in (0.8, 0.6, 0.4, 0.2)], rel=0.005)  # of one doubling, as of L0 3 to 60
    assert all(space_of().refill(params).params == params for params in found or [])
    assert fill_of(trials) == found


def test_what_was_tried_is_never_tried_again() -> None:
    trials = [told(i, 0, relu(weight), l0) for i, (weight, l0) in enumerate(STEEP)]
    first = weights(fill_of(trials))
    trials += [told(4 + i, 1, relu(weight), 0.0, state="failed", measurements={}) for i, weight in enumerate(first[:2])]
    assert weights(fill_of(trials)) == first[2:]
    trials += [told(6 + i, 2, relu(weight), 0.0, state="stopped", measurements={}) for i, weight in enumerate(first[2:])]
    assert fill_of(trials) is None


def test_of_structures_as_close_the_one_with_the_least_fvu_is_taken_and_one_further_off_is_not() -> None:
    close = [told(i, 0, relu(weight), l0, 0.5) for i, (weight, l0) in enumerate(STEEP)]
    better = [told(4 + i, 1, relu(weight, 0.004), l0, 0.4) for i, (weight, l0) in enumerate(STEEP)]
    wide = [told(8 + i, 2, relu(weight, 0.005), l0, 0.1) for i, (weight, l0) in enumerate([(0.5, 128.0), (1.0, 128.0), (2.0, 0.0)])]
    found = fill_of([*close, *better, *wide])
    assert {params["training.optimizer.lr"] for params in found or []} == {0.004}


def test_trials_of_baselines_and_unfinished_ones_fill_nothing() -> None:
    trials = [told(i, 0, relu(weight), l0) for i, (weight, l0) in enumerate(STEEP)]
    levels = (6.0, 12.0, 24.0, 48.0)
    for change in ({"baseline": "topk"}, {"state": "stopped"}, {"state": "running"}, {"state": "failed"}):
        beside = [told(9 + i, 9, relu(0.2 + i, 0.009), l0, **change) for i, l0 in enumerate(levels)]
        assert fill_of([*trials, *beside]) == fill_of(trials)
    assert fill_of([*trials, *[told(9 + i, 9, relu(0.2 + i, 0.009), l0) for i, l0 in enumerate(levels)]]) is None


def test_beyond_what_was_reached_the_rest_of_the_range_is_tried_and_its_end_once() -> None:
    trials = [told(i, 0, relu(weight), l0) for i, (weight, l0) in enumerate([(0.2, 64.0), (1.0, 40.0), (5.0, 25.0), (20.0, 16.0)])]
    found = weights(fill_of(trials))  # nothing from 2 to 16: penalties above 20, up to the end of the hole
    assert found == sorted(found) and found[0] > 20.0 and found[-1] == 100.0
    more = [told(4 + i, 1, relu(weight), 15.0 - i) for i, weight in enumerate(found)]  # and they do not reach it
    assert fill_of([*trials, *more]) is None
    other = [told(8 + i, 2, relu(weight, 0.002), l0) for i, (weight, l0) in enumerate([(0.3, 50.0), (2.0, 30.0), (9.0, 14.0)])]
    assert fill_of([*trials, *more, *other]) is None  # nor is another structure sent there


def test_there_is_nothing_to_do() -> None:
    even = [told(i, 0, relu(0.1 * 3**i), 2.0 * 2 ** (0.9 * i)) for i in range(6)]
    assert fill_of(even) is None  # no stretch is wider than the quota
    assert fill_of([]) is None
    assert fill_of([told(0, 0, relu(1.0), 8.0)]) is None  # one trial does not tell which way L0 goes
    assert fill_of([told(i, 0, relu(1.0 + i), 0.0) for i in range(4)]) is None
    requested = space_of(weight="1.0", count="1", sweep="{l0: [2, 4]}")
    params = {"gate": "relu", "target_l0": 2, "training.optimizer.lr": 0.003}
    assert fill_of([told(0, 0, params, 2.0), told(1, 0, {**params, "target_l0": 4}, 4.0)], requested) is None


def test_the_quota_is_an_octave_at_most() -> None:
    assert quota((2.0, 64.0), 4) == 1.0
    assert quota((4.0, 16.0), 4) == pytest.approx(0.4)
    assert quota((4.0, 8.0), 1) == 0.5


@given(st.lists(st.tuples(st.integers(1, 999), st.sampled_from([0.0, 0.5, 1.0, 3.0, 9.0, 20.0, 70.0, 128.0])), min_size=1, max_size=12))
def test_whatever_the_map_what_comes_back_is_legal_and_new(known: list[tuple[int, float]]) -> None:
    space = space_of()
    trials = [told(i, i // 4, relu(0.1 * weight), l0) for i, (weight, l0) in enumerate(known)]
    found = fill_of(trials, space)
    for params in found or []:
        assert space.refill(params).params == params
        assert params not in [trial.params for trial in trials]
    assert found is None or 1 <= len({json.dumps(params) for params in found}) == len(found) <= 4


def test_places_run_along_the_scale_of_a_hole() -> None:
    for hole, values in (
        (FloatHole(1.0, 100.0, True), (1.0, 10.0, 100.0)),
        (FloatHole(0.0, 1.0), (0.0, 0.5, 1.0)),
        (IntHole(1, 9, True), (1, 3, 9)),
        (ChoiceHole((1, 7, 8)), (1, 7, 8)),
    ):
        scale = Scale.of(hole)
        assert scale is not None and [scale.place(value) for value in values] == pytest.approx([0.0, 0.5, 1.0])
        assert scale.untried([0.0, 0.5, 1.0], (0.0, 1.0), []) == list(values)
        assert scale.untried([0.5], (0.45, 0.55), [values[1]]) == []
    assert Scale.of(ChoiceHole(("few", "many"))) is None
