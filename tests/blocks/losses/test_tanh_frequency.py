from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.blocks.losses.tanh_frequency import TanhFrequency
from archsearch.blocks.losses.tanh_penalty import TanhPenalty
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import JOINED, _free, sizes_of


def reference(settings, ports, tensors):
    levels, (rows, latents) = ports["code"].shape[:-2], ports["code"].shape[-2:]
    found = []
    for level in np.asarray(sizes_of(settings, ports)).reshape(-1, rows, latents):
        frequencies = [sum(math.tanh(settings["c"] * f) for f in column) / rows for column in level.T]
        found.append(sum(s * (1 + s / settings["w0"]) for s in frequencies))
    assert len(found) == (levels[0] if levels else 1)
    return {"loss": np.mean(found)}


EXAMPLE = Example(
    cases=(Case(), Case({"c": 0.5, "w0": 0.3, "norm": "dictionary", "dictionaries": "concatenated"}), Case(levels=LEVELS)),
    fields={"c": Two(0.5, 4.0), "w0": Two(0.01, 0.5), "norm": Two("plain", "dictionary"), "dictionaries": JOINED},
    reference=reference,
    sae=_free,
)


def test_a_latent_on_in_half_of_the_rows():
    loss = TanhFrequency(TanhFrequency.Spec(w0=0.25), Sizes(2, 2))
    assert loss(torch.tensor([[90.0, 0.0], [0.0, 0.0]]))["loss"] == 0.5 * (1 + 0.5 / 0.25)


def test_far_below_w0_it_is_the_tanh_penalty():
    code = torch.rand(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = TanhPenalty(TanhPenalty.Spec(), Sizes(2, 4))(code)["loss"].item()
    assert TanhFrequency(TanhFrequency.Spec(w0=1e9), Sizes(2, 4))(code)["loss"].item() == pytest.approx(plain)
