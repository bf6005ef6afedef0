"""The contracts of the other two moments: inputs, schedules and optimizers against their references, and blocks against each other."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import torch
from torch.func import functional_call, vmap

from archsearch.blocks._block import Block
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.signals import Given, Sizes
from tests.blocks.harness import MODEL, arrays, base, example, kinds, place, same, trace


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _members(kind: str, *sizes: Sizes) -> list[tuple[dict[str, Any], Block]]:
    """Blocks that differ in every numeric setting, with their settings."""
    fields = example(kind).fields
    found = []
    for which in ("first", "second"):
        spec = catalogue()[kind].Spec.model_validate({"kind": kind, **{name: getattr(two, which) for name, two in fields.items()}})
        found.append((spec.model_dump(), catalogue()[kind](spec, *sizes)))
    return found


def _stacked(blocks: list[Block]) -> Block:
    stacked = copy.deepcopy(blocks[0])
    for name in stacked.settings:
        setattr(stacked, name, torch.stack([getattr(block, name) for block in blocks]))
    return stacked


@pytest.mark.parametrize("kind", kinds("schedule"))
def test_a_schedule_equals_its_reference_alone_and_stacked(kind: str):
    members = _members(kind)
    for share in torch.linspace(0, 1, 21):
        expected = [example(kind).reference(settings, {"progress": [float(share)]}, {})["multiplier"][0] for settings, _ in members]
        same([block(share) for _, block in members], expected)
        same(_stacked([block for _, block in members])(share.expand(2)), expected)


@pytest.mark.parametrize("kind", kinds("controller"))
def test_a_controller_equals_its_reference_alone_and_stacked(kind: str):
    members = _members(kind)
    l0 = [40.0, 30.0, 22.0, 9.0, 6.0, 5.0, 7.0, 11.0]
    progress = [step / len(l0) for step in range(len(l0))]
    rate = [0.0, 0.5, 1.0, 1.0, 1.0, 0.75, 0.5, 0.01]
    ports = {"l0": l0, "progress": progress, "rate": rate}
    expected = [example(kind).reference(settings, ports, {})["strength"] for settings, _ in members]
    program, state = members[0][1], {name: torch.stack([getattr(m, name) for _, m in members]) for name in members[0][1].states}
    settings = {name: torch.stack([getattr(m, name) for _, m in members]) for name in program.settings}
    for step, numbers in enumerate(zip(l0, progress, rate)):
        given = tuple(map(torch.tensor, numbers))
        for (_, block), wanted in zip(members, expected):
            for name, value in block(*given).items():
                getattr(block, name).copy_(value)
            same(block.strength, wanted[step])
        state = vmap(lambda buffers: functional_call(program, buffers, given))({**settings, **state})  # noqa: B023
        same(state["strength"], [wanted[step] for wanted in expected])


@pytest.mark.parametrize("kind", kinds("optimizer"))
def test_an_optimizer_equals_its_reference_alone_and_stacked(kind: str):
    members = _members(kind)
    parameter, gradients = torch.randn(4), torch.randn(6, 4)
    gradients[2] = 0.0
    expected = [
        example(kind).reference(settings, arrays({"parameter": parameter, "gradients": gradients}), {})["parameter"]
        for settings, _ in members
    ]
    for (_, block), wanted in zip(members, expected):
        moved, moments = parameter.clone(), block.moments(parameter)
        for step, gradient in enumerate(gradients, start=1):
            block.update(gradient, moments, moved, {name: getattr(block, name) for name in block.settings}, torch.tensor(float(step)))
        same(moved, wanted)
    stacked = _stacked([block for _, block in members])
    moved = parameter.repeat(2, 1)
    moments = stacked.moments(moved)
    settings = {name: getattr(stacked, name)[:, None] for name in stacked.settings}
    for step, gradient in enumerate(gradients, start=1):
        stacked.update(gradient.repeat(2, 1), moments, moved, settings, torch.full((2, 1), float(step)))
    same(moved, expected)


@pytest.mark.parametrize("kind", kinds("optimizer"))
def test_moments_have_the_shape_of_the_parameter_so_that_rows_can_be_reset(kind: str):
    _, block = _members(kind)[0]
    for name, value in block.moments(torch.zeros(3, 4)).items():
        assert value.shape == (3, 4), name


@pytest.mark.parametrize("kind", kinds("input"))
def test_an_input_equals_its_reference_and_is_undone(kind: str):
    for settings, block in _members(kind, Sizes(MODEL, 0)):
        rows = 3 * torch.randn(40, MODEL) + 1
        expected = example(kind).reference(settings, arrays({"rows": rows}), {})
        block.fit(rows)
        scaled = block(rows)
        same(scaled, expected.pop("scaled"))
        for name, value in expected.items():
            same(getattr(block, name), value)
        same(block.inverse(scaled), rows)
        assert set(expected) == set(block.states), "what it learns is declared, and checked"


@pytest.mark.parametrize("slot", ["encoder", "gate", "level", "decoder", "loss", "init", "revival", "optimizer", "schedule", "input"])
def test_no_two_kinds_of_a_slot_do_the_same(slot: str):
    traces = {kind: trace(place(kind, {})) for kind in kinds(slot)}
    for (one, first), (other, second) in combinations(traces.items(), 2):
        assert first.shape != second.shape or (first - second).abs().max() > 1e-9, f"{one} is {other} under another name"


@pytest.mark.parametrize("kind", kinds("level", "revival"))
def test_an_optional_block_makes_a_difference(kind: str):
    document = place(kind, {})
    without = copy.deepcopy(document)
    without["graph"] = {label: spec for label, spec in without["graph"].items() if not isinstance(spec, dict) or spec.get("kind") != kind}
    without.pop("revival", None)
    first, second = trace(document), trace(without)
    assert first.shape != second.shape or (first - second).abs().max() > 1e-9


def test_a_pre_bias_makes_a_difference():
    document = base()
    document["graph"].pop("center")
    first, second = trace(base()), trace(document)
    assert first.shape != second.shape or (first - second).abs().max() > 1e-9


def test_what_moves_with_progress_says_when_it_has_settled():
    """A ladder judges nobody before: a block that reads progress and claims to be settled from the start would be judged half-way."""
    moving = [kind for slot in ("gate", "level", "loss", "op") for kind in kinds(slot) if _reads_progress(kind)]
    assert {"gated_sigmoid", "lp_annealed", "topk"} <= set(moving)
    for kind in moving:
        block = catalogue()[kind]
        assert any(0 < block.settled_frac(spec) <= 1 for spec in _specs(kind) if block.given(spec)), kind


def _reads_progress(kind: str) -> bool:
    return any(Given.PROGRESS in catalogue()[kind].given(spec).values() for spec in _specs(kind))


def _specs(kind: str) -> list[Any]:
    fields = example(kind).fields
    settings = [{}, *({name: two.first, **two.given} for name, two in fields.items())]
    return [catalogue()[kind].Spec.model_validate({"kind": kind, **example(kind).settings, **one}) for one in settings]
