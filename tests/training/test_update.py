"""What happens between two steps, against torch's own optimizer and clipping."""

from __future__ import annotations

import copy
from typing import Any, Literal

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.optimizers._base import Optimizer
from archsearch.spec.block import BlockSpec
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.update import Rules, update
from tests.blocks.harness import base, data

STEPS = 30


def _member(norm: str = "free", **training: Any) -> Member:
    document = base(tokens=16 * STEPS, **training)
    document["graph"]["decoder"] = {"kind": "linear_decoder", "norm": norm}
    return start(parse(document), data(), data(), precision="float64")


def _gradients(member: Member, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in member.parameters().items()}


def _numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)


@pytest.mark.parametrize("adam", [{}, {"lr": 0.01, "beta1": 0.0}, {"lr": 0.5, "beta2": 0.9, "eps": 1e-3}], ids=str)
def test_adam_walks_as_torch_does(adam: dict[str, float]):
    member = _member(optimizer={"kind": "adam", **adam}, schedule={"kind": "warmup_decay", "decay_frac": 0.0}, clip_norm=None)
    theirs = [value.detach().clone().requires_grad_() for value in member.parameters().values()]
    spec = member.assembly.spec.training.optimizer
    oracle = torch.optim.Adam(theirs, lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps)
    rules = Rules(member.sae, member.assembly.optimizer, member.assembly.schedule, None, stacked=False)
    ours = {name: value.data for name, value in member.parameters().items()}
    for step in range(STEPS):
        gradients = _gradients(member, step)
        for parameter, gradient in zip(theirs, gradients.values()):
            parameter.grad = gradient.clone()
        oracle.step()
        update(rules, ours, gradients, member.moments, _numbers(step + 1.0), _numbers(step / STEPS))
    for value, expected in zip(ours.values(), theirs):
        torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", ["free", "unit"])
def test_a_whole_run_equals_a_loop_written_with_torch(norm: str):
    """Loss, projection, clipping, Adam, the schedule and renormalisation together, in this order."""
    schedule = {"kind": "warmup_decay", "warmup_frac": 0.2, "decay_frac": 0.4}
    member = _member(norm, optimizer={"kind": "adam", "lr": 0.05}, schedule=schedule, clip_norm=0.5)
    copied = copy.deepcopy(member.sae)
    oracle = torch.optim.Adam(copied.parameters(), lr=0.05)
    rows = copied.block("decoder").dictionary
    for step in range(STEPS):
        share = step / STEPS
        for group in oracle.param_groups:
            group["lr"] = 0.05 * min(share / 0.2, 1) * min((1 - share) / 0.4, 1)
        oracle.zero_grad()
        copied(member.batches.at(step), _numbers(share))[0].backward()
        if norm == "unit":
            rows.grad -= (rows.grad * rows.data).sum(-1, keepdim=True) * rows.data
        torch.nn.utils.clip_grad_norm_(copied.parameters(), 0.5)
        oracle.step()
        if norm == "unit":
            rows.data /= rows.data.norm(dim=-1, keepdim=True)
    Looped().advance([member], STEPS)
    for value, expected in zip(member.sae.parameters(), copied.parameters()):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)


class _Plain(Optimizer):
    """Hands gradients on, so that a test sees what the clipping made of them."""

    class Spec(BlockSpec):
        kind: Literal["plain"] = "plain"

    paper = None

    def update(self, gradient: torch.Tensor, moments: Any, parameter: torch.Tensor, settings: Any, step: torch.Tensor) -> None:
        parameter.copy_(gradient)


@pytest.mark.parametrize("limit", [0.3, 3.0, 1e6])
def test_clipping_equals_torch_alone_and_stacked(limit: float):
    member = _member()
    one, two = _gradients(member, 1), {name: 0.01 * value for name, value in _gradients(member, 2).items()}
    expected = []
    for gradients in (one, two):
        parameters = [value.clone().requires_grad_() for value in gradients.values()]
        for parameter, gradient in zip(parameters, gradients.values()):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(parameters, limit)
        expected.append([parameter.grad for parameter in parameters])

    def clipped(gradients: dict[str, torch.Tensor], limit: torch.Tensor, stacked: bool) -> list[torch.Tensor]:
        rules = Rules(member.sae, _Plain(), member.assembly.schedule, limit, stacked)
        out = {name: torch.zeros_like(value) for name, value in gradients.items()}
        gradients = {name: value.clone() for name, value in gradients.items()}
        update(rules, out, gradients, {name: {} for name in out}, _numbers(1.0), _numbers(0.5))
        return list(out.values())

    for gradients, wanted in zip((one, two), expected):
        for value, target in zip(clipped(gradients, _numbers(limit), stacked=False), wanted):
            torch.testing.assert_close(value, target, rtol=1e-10, atol=1e-14)
    stacked = {name: torch.stack([one[name], two[name]]) for name in one}
    for index, wanted in enumerate(expected):
        for value, target in zip(clipped(stacked, _numbers(limit, limit), stacked=True), wanted):
            torch.testing.assert_close(value[index], target, rtol=1e-10, atol=1e-14)


def test_a_unit_dictionary_stays_at_norm_one_through_a_run():
    member = _member(norm="unit", optimizer={"kind": "adam", "lr": 0.1})
    before = member.sae.block("decoder").dictionary.clone()
    Looped().advance([member], STEPS)
    after = member.sae.block("decoder").dictionary
    torch.testing.assert_close(after.norm(dim=-1), torch.ones(12, dtype=torch.float64), rtol=1e-12, atol=0)
    assert (after - before).norm(dim=-1).min() > 0.01
