from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.losses.squared_error import SquaredError
from archsearch.blocks.losses.tilted_error import TiltedError
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two, base
from tests.blocks.losses.test_squared_error import _levels


def _weights(settings, errors):
    """Shares of the rows: in the loss of `weights`, in the gradient of both."""
    unit = np.mean(errors) if settings["form"] == "weights" else 1.0
    shares = [math.exp(settings["tilt"] * (error - max(errors)) / unit) for error in errors]
    return [share / sum(shares) for share in shares]


def _errors(ports):
    guess, target = ports["reconstruction"], ports["target"]
    return [
        [sum((a - b) ** 2 for a, b in zip(x, y)) for x, y in zip(level, target)] for level in (guess if guess.ndim == 3 else guess[None])
    ]


def _count(settings, ports):
    """Returns what the error of each level counts."""
    weights = np.array(settings["level_weights"] or [1.0] * len(_errors(ports)))
    return weights / len(weights) if settings["levels"] == "mean" else weights


def reference(settings, ports, tensors):
    found = []
    for errors in _errors(ports):
        if settings["form"] == "weights":
            found.append(sum(v * error for v, error in zip(_weights(settings, errors), errors)))
        elif settings["tilt"] == 0:
            found.append(np.mean(errors))
        else:
            found.append(math.log(np.mean([math.exp(settings["tilt"] * error) for error in errors])) / settings["tilt"])
    return {"loss": (_count(settings, ports) * found).sum()}


def reference_grad(settings, ports, tensors, above):
    """Both forms pull at each row by its share: the weights are constants in one, and are the soft maximum's slope in the other."""
    shares = np.array([_weights(settings, errors) for errors in _errors(ports)])
    difference = ports["reconstruction"] - ports["target"]
    shares = shares * _count(settings, ports)[:, None]
    pull = 2 * above["loss"] * shares.reshape(difference.shape[:-1])[..., None] * difference
    below = pull.copy()
    if settings["inner"] == "added":
        below[:-2] -= pull[1:-1]
    return {"reconstruction": below, "target": -pull.reshape(-1, *ports["target"].shape).sum(0)}


EXAMPLE = Example(
    cases=(
        Case({"tilt": 0.5}),
        Case({"tilt": 0.0}),
        Case({"tilt": 0.3, "form": "log_mean_exp"}),
        Case({"tilt": 0.0, "form": "log_mean_exp"}),
        Case({"tilt": 0.5}, levels=LEVELS),
        Case({"tilt": 0.2, "form": "log_mean_exp", "levels": "mean"}, levels=LEVELS),
        Case({"tilt": 0.5, "level_weights": [0.5, 2.0, 1.0], "inner": "added"}, levels=LEVELS),
    ),
    fields={
        "tilt": Two(0.0, 0.5),
        "form": Two("weights", "log_mean_exp"),
        "levels": Two("sum", "mean", sae=_levels),
        "level_weights": Two(None, [1.0, 1.0, 2.0], sae=_levels),
        "inner": Two("all", "added", sae=_levels),
    },
    reference=reference,
    reference_grad=reference_grad,
    sae=_levels,
)


def _sizes(levels: int = 0) -> Sizes:
    return Sizes(2, 3, {"reconstruction": (Info(Signal.RECONSTRUCTION, 2, levels),), "target": (Info(Signal.ACTIVATION, 2),)})


GUESS, TARGET = torch.zeros(2, 2), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
"""Errors 9 and 1: their mean is 5."""


def test_the_worse_row_counts_more():
    """A tilt of 5 log(2) / 8 over the mean of 5 weighs the row whose error is larger by 8 twice."""
    for form, tilt in (("weights", 5 * math.log(2) / 8), ("log_mean_exp", math.log(2) / 8)):
        guess = GUESS.clone().requires_grad_(True)
        loss = TiltedError(TiltedError.Spec(form=form, tilt=tilt), _sizes())(guess, TARGET)["loss"]
        loss.backward()
        expected = 2 / 3 * 9 + 1 / 3 * 1 if form == "weights" else math.log((2 ** (9 / 8) + 2 ** (1 / 8)) / 2) / tilt
        assert loss.item() == pytest.approx(expected)
        torch.testing.assert_close(guess.grad, torch.tensor([[-6 * 2 / 3, 0.0], [0.0, -2 * 1 / 3]]))


@pytest.mark.parametrize("form", ["weights", "log_mean_exp"])
@pytest.mark.parametrize("levels", [0, 3])
def test_without_a_tilt_it_is_the_squared_error(form: str, levels: int):
    shape = (levels, 4, 2) if levels else (4, 2)
    guess, target = torch.randn(shape, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    for how in ("sum", "mean"):
        loss = TiltedError(TiltedError.Spec(tilt=0.0, form=form, levels=how), _sizes(levels))(guess, target)["loss"]
        torch.testing.assert_close(loss, SquaredError(SquaredError.Spec(levels=how), _sizes(levels))(guess, target)["loss"])


@pytest.mark.parametrize("form", ["weights", "log_mean_exp"])
def test_a_perfect_reconstruction_and_huge_errors_are_finite(form: str):
    for scale in (0.0, 1e4):
        guess = (scale * TARGET).requires_grad_(True)
        loss = TiltedError(TiltedError.Spec(tilt=3.0, form=form), _sizes())(guess, torch.zeros(2, 2))["loss"]
        loss.backward()
        assert loss.isfinite() and guess.grad.isfinite().all() and (scale > 0 or loss == 0)


def test_it_takes_the_place_of_the_reconstruction_loss():
    document = base()
    document["losses"]["reconstruction"] = {"kind": "tilted_error", "tilt": 0.5}
    sae = assemble(parse(document), model=6).sae
    _, terms, _ = sae({"x": torch.randn(4, 6)}, torch.tensor(0.0))
    assert set(terms) == {"sparsity", "reconstruction"}
    assert sae.block("losses/reconstruction").kind() == "tilted_error"
