from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.losses.squared_error import SquaredError
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def _errors(settings, ports) -> list[float]:
    guess, target = ports["reconstruction"], ports["target"]
    levels = guess if guess.ndim == 3 else guess[None]
    weights = settings["level_weights"] or [1.0] * len(levels)
    return [w * np.mean([sum((a - b) ** 2 for a, b in zip(x, y)) for x, y in zip(level, target)]) for w, level in zip(weights, levels)]


def reference(settings, ports, tensors):
    errors = _errors(settings, ports)
    return {"loss": sum(errors) if settings["levels"] == "sum" else np.mean(errors)}


def reference_grad(settings, ports, tensors, above):
    # By hand: the slope that `inner: added` leaves out is one of the numbers.
    guess, target = ports["reconstruction"], ports["target"]
    levels = guess if guess.ndim == 3 else guess[None]
    share = above["loss"] / (len(levels) if settings["levels"] == "mean" else 1) / len(target)
    own = [2 * w * (level - target) * share for w, level in zip(settings["level_weights"] or [1.0] * len(levels), levels)]
    below = [slope.copy() for slope in own]
    if settings["inner"] == "added":
        for level in range(1, len(levels) - 1):
            below[level - 1] -= own[level]
    return {"reconstruction": np.stack(below) if guess.ndim == 3 else below[0], "target": -sum(own)}


def _levels(spec):
    document = base()
    decoder = document["graph"].pop("decoder")
    document["graph"] |= {"level": {"kind": "matryoshka", "prefixes": [0.25, 0.5]}, "decoder": decoder}
    document["losses"]["reconstruction"] = spec
    return document


EXAMPLE = Example(
    cases=(
        Case(),
        Case(levels=LEVELS),
        Case({"levels": "mean"}, levels=LEVELS),
        Case({"level_weights": [0.5, 0.0, 2.0]}, levels=LEVELS),
        Case({"levels": "mean", "level_weights": [0.5, 0.1, 2.0], "inner": "added"}, levels=LEVELS),
    ),
    fields={
        "levels": Two("sum", "mean", sae=_levels),
        "level_weights": Two(None, [1.0, 1.0, 2.0], sae=_levels),
        "inner": Two("all", "added", sae=_levels),
    },
    reference=reference,
    reference_grad=reference_grad,
    sae=_levels,
)


def _loss(there: int = 0, **settings) -> SquaredError:
    sizes = Sizes(2, 3, {"reconstruction": (Info(Signal.RECONSTRUCTION, 2, there),), "target": (Info(Signal.ACTIVATION, 2),)})
    return SquaredError(SquaredError.Spec(**settings), sizes)


def test_summed_over_the_model_and_averaged_over_rows():
    loss = _loss()(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    assert loss["loss"] == (25 + 1) / 2


def test_each_level_counts_with_its_weight():
    rebuilt, target = torch.tensor([[[0.0, 0.0]], [[3.0, 0.0]]]), torch.tensor([[3.0, 4.0]])
    assert _loss(2, level_weights=[0.1, 2.0])(rebuilt, target)["loss"] == pytest.approx(0.1 * 25 + 2 * 16)
    assert _loss(2, level_weights=[0.1, 2.0], levels="mean")(rebuilt, target)["loss"] == pytest.approx((0.1 * 25 + 2 * 16) / 2)


@pytest.mark.parametrize(
    ("levels", "settings", "what"),
    [
        (3, {"level_weights": [1.0, 1.0]}, "it has 3 levels, and there are 2 weights"),
        (0, {"level_weights": [1.0, 1.0]}, "it has no level axis, and there are 2 weights"),
        (0, {"inner": "added"}, "it has no level axis: leave it out"),
        (2, {"inner": "added"}, "it has 2 levels: leave it out"),
    ],
)
def test_settings_of_levels_that_are_not_there_are_refused(levels: int, settings: dict, what: str):
    with pytest.raises(AssemblyError, match=what):
        _loss(levels, **settings)


def test_a_wrong_number_of_weights_is_refused_where_it_stands():
    document = _levels({"kind": "squared_error", "level_weights": [1.0, 1.0]})
    with pytest.raises(AssemblyError, match=r"losses\.reconstruction.*3 levels"):
        assemble(parse(document), model=6)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValidationError, match="must be above zero"):
        SquaredError.Spec(level_weights=[0.0, 0.0])
