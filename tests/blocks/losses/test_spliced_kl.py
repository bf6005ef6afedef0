from __future__ import annotations

import math

import numpy as np
import torch

from archsearch.blocks._splice import Pass, Splice
from archsearch.blocks.losses.spliced_kl import SplicedKL
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example


def shares(logits: np.ndarray) -> list[float]:
    """Returns the softmax of one position's logits."""
    total = sum(math.exp(value) for value in logits)
    return [math.exp(value) / total for value in logits]


def reference(settings, ports, tensors):
    splice = ports["splice"]
    logits, _ = splice.passed(ports["reconstruction"])
    found = []
    for window, clean in zip(logits, splice.clean.logits.double().numpy()):
        for left, kept in list(zip(window, clean))[splice.kept :]:
            found.append(sum(p * math.log(p / q) for p, q in zip(shares(kept), shares(left))))
    return {"loss": np.mean(found)}


EXAMPLE = Example(cases=(Case(), Case(levels=LEVELS)), reference=reference)


def splice_of(clean: list[list[float]], left: list[list[float]], kept: int = 0) -> Splice:
    """Returns a splice of one window whose next-token shares are these, whatever is put into the model."""
    before, after = (Pass(torch.tensor(shares).log()[None], {}) for shares in (clean, left))
    return Splice(torch.arange(len(clean))[None], kept, before, lambda values: after)


def test_a_certainty_halved_costs_log_two_and_the_kept_position_nothing():
    splice = splice_of([[0.5, 0.5], [1 - 1e-7, 1e-7], [0.5, 0.5]], [[0.9, 0.1], [0.5, 0.5], [0.5, 0.5]], kept=1)
    loss = SplicedKL(SplicedKL.Spec(), Sizes(2, 3))([torch.zeros(2, 2)], splice=splice)["loss"]
    torch.testing.assert_close(loss, torch.tensor(math.log(2) / 2), rtol=1e-5, atol=0)
