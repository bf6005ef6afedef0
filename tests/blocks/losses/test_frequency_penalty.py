from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.losses.frequency_penalty import FrequencyPenalty
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two
from tests.blocks.losses.test_l0 import _sae


def reference(settings, ports, tensors):
    frequencies = [sum(column) / len(column) for column in np.asarray(ports["active"]).T]
    return {"loss": sum(w * (1 + w / settings["w0"]) for w in frequencies)}


EXAMPLE = Example(
    cases=(Case(), Case({"w0": 0.7})),
    fields={"w0": Two(0.01, 0.5)},
    reference=reference,
    sae=_sae,
)

ROWS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])


def test_a_latent_that_is_always_on_costs_more_than_its_share():
    assert FrequencyPenalty(FrequencyPenalty.Spec(w0=0.5), Sizes(2, 2))(ROWS)["loss"] == 1 * (1 + 1 / 0.5) + 0.25 * (1 + 0.25 / 0.5)


def test_far_below_w0_it_counts_latents():
    assert FrequencyPenalty(FrequencyPenalty.Spec(w0=1e6), Sizes(2, 2))(ROWS)["loss"].item() == pytest.approx(1.25, rel=1e-5)


def test_often_fired_latents_are_pulled_harder():
    active = ROWS.clone().requires_grad_(True)
    FrequencyPenalty(FrequencyPenalty.Spec(w0=0.5), Sizes(2, 2))(active)["loss"].backward()
    assert active.grad[0].tolist() == [(1 + 2 * 1 / 0.5) / 4, (1 + 2 * 0.25 / 0.5) / 4]
