from __future__ import annotations

import torch

from archsearch.blocks.losses.l0 import L0
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Example, base


def reference(settings, ports, tensors):
    rows = ports["active"]
    return {"loss": sum(sum(row) for row in rows) / len(rows)}


def _sae(spec):
    document = base()
    document["graph"]["gate"] = "jumprelu"
    document["losses"]["sparsity"] = spec
    return document


EXAMPLE = Example(reference=reference, sae=_sae)


def test_latents_that_are_on_are_counted():
    assert L0(L0.Spec(), Sizes(2, 3))(torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))["loss"] == 1.5
