from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.losses.lp_annealed import LpAnnealed
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import JOINED, _free, sizes_of


def _penalty(settings, rows, p):
    totals = [sum(f**p for f in row if f != 0) for row in rows]
    return np.mean([total ** (1 / p) if total > 0 else 0.0 for total in totals] if settings["power"] == "outer" else totals)


def _exponent(settings, number):
    share = min(max(number, 0), settings["updates"] - 1) / (settings["updates"] - 1)
    return settings["p_start"] + share * (settings["p_end"] - settings["p_start"])


def reference(settings, ports, tensors):
    changes, alpha, queue = float(tensors["changes"]), float(tensors["alpha"]), [tuple(pair) for pair in tensors["queue"]]
    rows = sizes_of(settings, ports)
    now, then = (_penalty(settings, rows, _exponent(settings, number)) for number in (changes - 1, changes))
    loss = alpha * now
    if changes >= 1:
        queue = [*queue[1:], (now, then)]
    point = settings["start_frac"] + changes / (settings["updates"] - 1) * (settings["end_frac"] - settings["start_frac"])
    if changes < settings["updates"] and float(ports["progress"]) >= point - 1e-6:
        if changes >= 1:
            alpha *= sum(old for old, _ in queue) / sum(new for _, new in queue)
        changes += 1
    return {"loss": loss, "changes": changes, "alpha": alpha, "queue": queue}


EXAMPLE = Example(
    settings={"start_frac": 0.125, "updates": 4, "memory": 2},
    cases=(
        Case(),
        Case({"power": "outer", "updates": 2}),
        Case({"norm": "dictionary", "start_frac": 0.9}),
        Case({"p_start": 1.5, "memory": 1}, levels=LEVELS),
    ),
    fields={
        "power": Two("inner", "outer"),
        "norm": Two("plain", "dictionary"),
        "dictionaries": JOINED,
        "p_start": Two(1.0, 0.8),
        "p_end": Two(0.2, 0.4),
        "start_frac": Two(0.125, 0.5),
        "end_frac": Two(0.75, 1.0),
        "updates": Two(3, 5),
        "memory": Two(1, 3),
    },
    reference=reference,
    sae=_free,
)


class Annealing:
    """p-annealing as a loop over whole steps that keeps lists, written from the equations."""

    def __init__(self, steps, start, end, updates, p_start, p_end, memory, outer):
        self.points = [round(start + i * (end - start) / (updates - 1)) for i in range(updates)]
        self.exponents = [p_start + i * (p_end - p_start) / (updates - 1) for i in range(updates)]
        self.p, self.following, self.alpha, self.passed, self.pairs = p_start, None, 1.0, 0, []
        self.memory, self.outer = memory, outer

    def step(self, number, code):
        def penalty(p):
            totals = [sum(f**p for f in row if f > 0) for row in code]
            return sum(total ** (1 / p) if self.outer else total for total in totals) / len(totals)

        loss = self.alpha * penalty(self.p)
        if self.following is not None:
            self.pairs = [*self.pairs, (penalty(self.p), penalty(self.following))][-self.memory :]
        if number in self.points:
            if self.following is not None:
                self.alpha *= np.mean([old for old, _ in self.pairs]) / np.mean([new for _, new in self.pairs])
            self.p = self.exponents[self.passed]
            self.following = self.exponents[min(self.passed + 1, len(self.exponents) - 1)]
            self.passed += 1
        return loss


def _run(loss: LpAnnealed, steps: int, codes: torch.Tensor) -> list[dict]:
    """Steps a loss, writing its state back as an executor does."""
    told = []
    for step in range(steps):
        out = loss(codes[step], progress=torch.tensor(step / steps))
        told.append({name: value.detach().clone() for name, value in out.items()})
        for name in loss.states:
            getattr(loss, name).copy_(out[name].detach())
    return told


@pytest.mark.parametrize("power", ["inner", "outer"])
@pytest.mark.parametrize(("end", "last"), [(100, 0.4), (80, 0.2)])
def test_a_run_equals_the_loop_over_whole_steps(power: str, end: int, last: float):
    steps, start = 100, 20
    codes = torch.rand(steps, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    codes = codes.relu() * torch.linspace(1, 3, steps, dtype=torch.float64)[:, None, None]
    spec = LpAnnealed.Spec(power=power, start_frac=start / steps, end_frac=end / steps, updates=5, memory=3)
    plain = Annealing(steps, start, end, 5, 1.0, 0.2, 3, power == "outer")
    expected = [plain.step(step, codes[step].tolist()) for step in range(steps)]
    told = _run(LpAnnealed(spec, Sizes(2, 8)).double(), steps, codes)
    assert [out["loss"].item() for out in told] == pytest.approx(expected)
    assert plain.p == pytest.approx(last), "a last point past the last step leaves the run one exponent short"
    changed = [step for step in range(1, steps) if told[step]["changes"] != told[step - 1]["changes"]]
    assert changed == [step for step in plain.points if step < steps], "each point changes once, in the step that reaches it"


@pytest.mark.parametrize("power", ["inner", "outer"])
def test_the_penalty_of_a_constant_code_stays_where_it_was(power: str):
    code = torch.tensor([[4.0, 1.0, 0.0], [0.0, 9.0, 16.0]]).expand(50, 2, 3)
    told = _run(LpAnnealed(LpAnnealed.Spec(power=power, start_frac=0.1, updates=5, p_end=0.5), Sizes(2, 3)), 50, code)
    assert [out["loss"].item() for out in told] == pytest.approx([15.0] * 50)
    assert told[-1]["alpha"] != 1.0 and told[-1]["changes"] == 4.0


def test_it_starts_as_an_l1_penalty():
    loss = LpAnnealed(LpAnnealed.Spec(), Sizes(2, 2))
    out = loss(torch.tensor([[1.0, -2.0], [0.0, 5.0]]), progress=torch.tensor(0.0))
    assert out["loss"] == 4.0 and out["changes"] == 0 and not out["queue"].any()


@pytest.mark.parametrize("steps", [7, 100, 1000, 3333])
def test_a_point_on_a_step_is_reached_in_it_whatever_the_rounding(steps: int):
    spec = LpAnnealed.Spec(start_frac=1 / steps, end_frac=(steps - 1) / steps, updates=steps - 1, memory=1)
    loss = LpAnnealed(spec, Sizes(2, 1))
    for step in range(1, steps):
        loss.changes.fill_(step - 1)
        out = loss(torch.ones(1, 1), progress=torch.tensor(step / steps))
        early = loss(torch.ones(1, 1), progress=torch.tensor((step - 1) / steps))
        assert out["changes"] == step and early["changes"] == step - 1


@pytest.mark.parametrize("power", ["inner", "outer"])
def test_masked_codes_have_no_nan_in_their_gradient(power: str):
    pre = torch.tensor([[1.0, -1.0], [-1.0, 0.0]], requires_grad=True)
    loss = LpAnnealed(LpAnnealed.Spec(power=power, updates=2), Sizes(2, 2))
    loss.changes.fill_(2.0)
    out = loss(pre * (pre > 0), progress=torch.tensor(0.5))
    out["loss"].backward()
    assert pre.grad.isfinite().all() and pre.grad[0, 0] != 0 and pre.grad[1].tolist() == [0.0, 0.0]


def test_codes_of_zeros_leave_alpha_alone():
    loss = LpAnnealed(LpAnnealed.Spec(memory=1), Sizes(2, 2))
    loss.changes.fill_(1.0)
    out = loss(torch.zeros(2, 2), progress=torch.tensor(0.9))
    assert out["alpha"] == 1.0 and out["changes"] == 2.0


def test_the_last_point_must_come_after_the_first():
    with pytest.raises(ValidationError, match="start_frac must be below end_frac"):
        LpAnnealed.Spec(start_frac=0.5, end_frac=0.5)
