from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.levels.random_matryoshka import RandomMatryoshka
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import Case, Example, Two
from tests.blocks.levels.shared import LEVELLED, nested, usage


def _weight(size: int, power: float) -> float:
    if size == 1:
        return 1.0 if power > 0 else 0.0
    return abs(size**power - (size - 1) ** power)


def reference(settings, ports, tensors):
    latents, power = ports["code"].shape[1], settings["power"]
    times = {
        size: -math.log(ports["uniform"][size - 1]) / weight if (weight := _weight(size, power)) else math.inf for size in range(1, latents)
    }
    drawn = sorted(sorted(times, key=times.__getitem__)[: settings["prefixes"]])
    return {"code": nested(settings, ports["code"], [*drawn, latents], tensors), **usage(settings, ports, tensors)}


def reference_infer(settings, ports, tensors):
    latents, levels = ports["code"].shape[1], settings["prefixes"] + 1
    counts = [round(level * latents / levels) for level in range(1, levels + 1)]
    return {"code": nested(settings, ports["code"], counts, tensors)}


EXAMPLE = Example(
    settings={"prefixes": 3},
    cases=(
        Case(),
        Case({"prefixes": 1, "power": -0.5}),
        Case({"bias_level": True, "power": 1.0}),
        Case({"order": "frequency", "decay": 0.9}),
        Case({"order": "energy", "prefixes": 6}),
    ),
    fields={"prefixes": Two(1, 3), "power": Two(0.2, 1.0), **LEVELLED},
    reference=reference,
    constants=("dictionary",),
)


def _level(latents: int = 4, **settings) -> RandomMatryoshka:
    return RandomMatryoshka(RandomMatryoshka.Spec(**{"prefixes": 2, **settings}), Sizes(2, latents))


def test_the_sizes_that_come_in_first_are_the_prefixes():
    # Sizes 1, 2 and 3 with power 1 are equally fast: those with the largest numbers win, here 1 and 3.
    code = _level(power=1.0)(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), uniform=torch.tensor([0.9, 0.1, 0.5, 0.0]))["code"]
    assert code.tolist() == [[[1.0, 0.0, 0.0, 0.0]], [[1.0, 2.0, 3.0, 0.0]], [[1.0, 2.0, 3.0, 4.0]]]


@pytest.mark.parametrize("power", [0.5, -0.5, 1.0])
def test_one_size_is_drawn_with_its_chance_and_two_as_one_after_the_other(power: float):
    torch.manual_seed(0)
    draws, level = 20_000, _level(6, power=power)
    found = torch.vmap(level._drawn)(torch.rand(draws, 6))
    counted = Counter(map(tuple, found.tolist()))
    weights = {size: _weight(size, power) for size in range(1, 6)}
    total = sum(weights.values())
    for first in weights:
        for second in range(first + 1, 6):
            one, two = weights[first], weights[second]
            chance = one / total * two / (total - one) + two / total * one / (total - two)
            assert counted[(first, second)] / draws == pytest.approx(chance, abs=4 * math.sqrt(chance / draws) + 1e-9)


@pytest.mark.parametrize("power", [-2.0, -0.5, 1e-3, 1.0])
@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2**-24])
def test_all_sizes_are_drawn_where_as_many_are_wanted_whatever_the_numbers(power: float, number: float):
    level = _level(5, prefixes=4, power=power)
    assert level._drawn(torch.full((5,), number)).tolist() == [1, 2, 3, 4]


def test_levels_at_inference_are_equally_spaced_and_nothing_is_drawn():
    code = _level(8, prefixes=3, bias_level=True).infer(torch.ones(1, 8))["code"]
    assert code.sum(-1).flatten().tolist() == [0, 2, 4, 6, 8]


def test_more_prefixes_than_sizes_and_a_power_of_zero_are_refused():
    with pytest.raises(AssemblyError, match="got 8 of 8 latents"):
        RandomMatryoshka.produces(RandomMatryoshka.Spec(prefixes=8), Sizes(2, 8))
    with pytest.raises(ValidationError, match="must not be zero"):
        RandomMatryoshka.Spec(power=0.0)
