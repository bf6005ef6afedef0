from __future__ import annotations

import math

import pytest
import torch

from archsearch.blocks.controllers.l0_controller import L0Controller
from archsearch.errors import InvalidInput
from tests.blocks.harness import Example, Two, base


def reference(settings, ports, tensors):
    """The rule written as a loop over batches; returns the strength after each."""
    total, mean, before, highest, strengths = 0.0, 0.0, 0.0, 0.0, []
    first = ports["l0"][0]
    for seen, (l0, progress, rate) in enumerate(zip(ports["l0"], ports["progress"], ports["rate"]), start=1):
        highest = max(highest, rate)
        gain = 1.0 if highest == 0 else settings["boost"] if rate == 0 else min(highest / rate, settings["boost"])
        mean += (l0 - mean) / min(seen, settings["memory"])
        left = max(1 - progress / settings["approach_frac"], 0.0) if settings["approach_frac"] else 0.0
        aim = math.log(settings["l0"]) * (1 - left) + math.log(first) * left
        error = min(max(math.log(mean) - aim, -1.0), 1.0)
        total += gain * settings["integral"] * error * (progress - before)
        total = min(max(total, -5 * math.log(10)), 5 * math.log(10))  # a weight 100,000 times more or less decides nothing any more
        before = progress
        strengths.append(math.exp(gain * settings["proportional"] * error + total))
    return {"strength": strengths}


def _sae(spec):
    return base() | {"controller": spec}


EXAMPLE = Example(
    settings={"l0": 3.0},
    fields={
        "l0": Two(2.0, 5.0),
        "proportional": Two(0.5, 1.5),
        "integral": Two(20.0, 5.0),
        "approach_frac": Two(0.25, 0.75),
        "check_frac": Two([0.5], [0.5, 0.75]),
        "boost": Two(1.0, 5.0),
        "memory": Two(1, 10),
    },
    reference=reference,
    sae=_sae,
)


def _controller(**settings) -> L0Controller:
    return L0Controller(L0Controller.Spec(**{"l0": 10, "approach_frac": 0, "memory": 1, "check_frac": [], **settings}))


def _told(controller: L0Controller, l0: float, progress: float, rate: float = 1.0) -> float:
    for name, value in controller(torch.tensor(l0), torch.tensor(progress), torch.tensor(rate)).items():
        getattr(controller, name).copy_(value)
    return float(controller.strength)


def test_too_many_latents_strengthen_the_penalty_and_too_few_weaken_it():
    assert _told(_controller(integral=1.0, proportional=1.0), 20.0, 0.0) == pytest.approx(2.0)
    assert _told(_controller(integral=1.0, proportional=1.0), 5.0, 0.0) == pytest.approx(0.5)


def test_an_error_that_stays_adds_up_over_the_run():
    controller = _controller(integral=10.0, proportional=0.0)
    _told(controller, 20.0, 0.0)
    assert _told(controller, 20.0, 0.1) == pytest.approx(2.0)  # exp(10 * log 2 * 0.1)


def test_what_inference_shows_beyond_the_batches_is_counted_from_the_check_on():
    controller = _controller(proportional=1.0)
    _told(controller, 10.0, 0.5)
    controller.check(20.0)
    assert _told(controller, 10.0, 0.5) == pytest.approx(2.0)


def test_both_parts_grow_as_the_learning_rate_falls_but_not_while_it_warms_up():
    controller = _controller(integral=1.0, proportional=1.0, boost=4.0)
    assert _told(controller, 20.0, 0.0, rate=0.0) == pytest.approx(2.0)
    assert _told(controller, 20.0, 0.0, rate=0.5) == pytest.approx(2.0)
    assert _told(controller, 20.0, 0.0, rate=1.0) == pytest.approx(2.0)
    assert _told(controller, 20.0, 0.0, rate=0.5) == pytest.approx(4.0)
    assert _told(controller, 20.0, 0.0, rate=0.0) == pytest.approx(16.0)  # at most 4 times


def test_a_check_outside_the_run_is_refused():
    with pytest.raises(InvalidInput, match="inside the run"):
        _controller(check_frac=[0.001]).steps(100)


def test_the_reason_says_which_way_it_missed():
    controller = _controller()
    assert "still moving" in controller.reason(5.0)
    controller.strength.fill_(1e-4)
    assert "not what keeps latents off" in controller.reason(5.0)
    controller.strength.fill_(1e4)
    assert "another weight" in controller.reason(30.0)
