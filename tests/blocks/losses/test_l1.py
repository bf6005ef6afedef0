from __future__ import annotations

import numpy as np
import torch

from archsearch.blocks.losses.l1 import L1
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def reference(settings, ports, tensors):
    code = ports["code"].reshape(-1, ports["code"].shape[-1])
    norms = [sum(v * v for v in row) ** 0.5 for row in ports["dictionary"]] if "dictionary" in ports else [1.0] * code.shape[1]
    return {"loss": np.mean([sum(abs(f) * n for f, n in zip(row, norms)) for row in code])}


def _free(spec):
    document = base()
    document["graph"]["decoder"] = {"kind": "linear_decoder", "norm": "free"}
    document["losses"]["sparsity"] = spec
    return document


EXAMPLE = Example(
    cases=(Case(), Case({"norm": "dictionary"}), Case({"norm": "dictionary"}, levels=LEVELS)),
    fields={"norm": Two("plain", "dictionary")},
    reference=reference,
    sae=_free,
)


def test_absolute_values_add_up_and_rows_are_averaged():
    assert L1(L1.Spec(), Sizes(2, 2))(torch.tensor([[1.0, -2.0], [0.0, 5.0]]))["loss"] == 4.0


def test_a_dictionary_row_twice_as_long_counts_twice():
    loss = L1(L1.Spec(norm="dictionary"), Sizes(2, 1))
    assert loss(torch.tensor([[1.0]]), torch.tensor([[0.0, 2.0]]))["loss"] == 2.0
