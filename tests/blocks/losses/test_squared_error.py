from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.losses.squared_error import SquaredError
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def reference(settings, ports, tensors):
    guess, target = ports["reconstruction"], ports["target"]
    levels = guess if guess.ndim == 3 else guess[None]
    errors = [np.mean([sum((a - b) ** 2 for a, b in zip(x, y)) for x, y in zip(level, target)]) for level in levels]
    return {"loss": sum(errors) if settings["levels"] == "sum" else np.mean(errors)}


def _levels(spec):
    document = base()
    decoder = document["graph"].pop("decoder")
    document["graph"] |= {"level": {"kind": "matryoshka", "prefixes": [0.5]}, "decoder": decoder}
    document["losses"]["reconstruction"] = spec
    return document


EXAMPLE = Example(
    cases=(Case(), Case(levels=LEVELS), Case({"levels": "mean"}, levels=LEVELS)),
    fields={"levels": Two("sum", "mean", sae=_levels)},
    reference=reference,
    sae=_levels,
)


def test_summed_over_the_model_and_averaged_over_rows():
    sizes = Sizes(2, 3, {"reconstruction": (Info(Signal.RECONSTRUCTION, 2),), "target": (Info(Signal.ACTIVATION, 2),)})
    loss = SquaredError(SquaredError.Spec(), sizes)(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    assert loss["loss"] == (25 + 1) / 2
