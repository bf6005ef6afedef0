from __future__ import annotations

import math

import numpy as np
import torch

from archsearch.blocks.losses.spliced_cross_entropy import SplicedCrossEntropy
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example
from tests.blocks.losses.test_spliced_kl import shares, splice_of


def reference(settings, ports, tensors):
    splice = ports["splice"]
    logits, _ = splice.passed(ports["reconstruction"])
    found = []
    for window, tokens in zip(logits, splice.tokens.tolist()):
        found += [-math.log(shares(left)[after]) for left, after in zip(window[:-1], tokens[1:])]
    return {"loss": np.mean(found)}


EXAMPLE = Example(cases=(Case(), Case(levels=LEVELS)), reference=reference)


def test_every_next_token_inside_the_window_counts():
    splice = splice_of([[0.5, 0.25, 0.25]] * 3, [[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [1.0, 1e-9, 1e-9]], kept=1)
    loss = SplicedCrossEntropy(SplicedCrossEntropy.Spec(), Sizes(2, 3))([torch.zeros(2, 2)], splice=splice)["loss"]
    torch.testing.assert_close(loss, torch.tensor((math.log(4) + math.log(2)) / 2))  # token 1 after 0, token 2 after 1
