from __future__ import annotations

import pytest
import torch

from archsearch.blocks.schedules.warmup_decay import WarmupDecay
from tests.blocks.harness import Example, Two


def reference(settings, ports, tensors):
    found = []
    for share in ports["progress"]:
        rise = min(share / settings["warmup_frac"], 1.0) if settings["warmup_frac"] else 1.0
        fall = min((1 - share) / settings["decay_frac"], 1.0) if settings["decay_frac"] else 1.0
        found.append(rise * fall)
    return {"multiplier": found}


EXAMPLE = Example(fields={"warmup_frac": Two(0.0, 0.5), "decay_frac": Two(0.2, 0.8)}, reference=reference)


def test_up_then_flat_then_down():
    schedule = WarmupDecay(WarmupDecay.Spec(warmup_frac=0.2, decay_frac=0.2))
    told = [schedule(torch.tensor(share)).item() for share in (0.0, 0.1, 0.2, 0.5, 0.8, 0.9, 1.0)]
    assert told == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0], abs=1e-6)
