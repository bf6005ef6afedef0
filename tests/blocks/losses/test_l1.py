from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.losses.l1 import L1
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def sizes_of(ports):
    """Returns `|f_i|` of every row of every level, times `|d_i|` where there is a dictionary."""
    code = ports["code"].reshape(-1, ports["code"].shape[-1])
    norms = [sum(v * v for v in row) ** 0.5 for row in ports["dictionary"]] if "dictionary" in ports else [1.0] * code.shape[1]
    return [[abs(f) * n for f, n in zip(row, norms)] for row in code]


def reference(settings, ports, tensors):
    return {"loss": np.mean([sum(row) for row in sizes_of(ports)])}


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


@pytest.mark.parametrize("frozen", [False, True])
def test_a_detached_wire_freezes_the_norms(frozen: bool):
    """Penalties alike in value: with a frozen dictionary only what makes the code is pulled."""
    wire = {"signal": "decoder.dictionary", "detach": frozen}
    sae = assemble(parse(_free({"kind": "l1", "norm": "dictionary", "from": {"dictionary": wire}})), model=6).sae
    torch.manual_seed(0)
    for value in sae.parameters():
        torch.nn.init.normal_(value)
    _, terms, _ = sae({"x": torch.randn(4, 6)}, torch.tensor(0.5))
    parameters = dict(sae.named_parameters())
    pulls = torch.autograd.grad(terms["sparsity"], list(parameters.values()), allow_unused=True, materialize_grads=True)
    pulled = {name for name, pull in zip(parameters, pulls) if pull.any()}
    assert ("blocks.decoder.dictionary" in pulled) is not frozen
    assert any(name.startswith("blocks.encoder") for name in pulled)


def test_the_slope_at_zero_is_one_so_that_gates_with_pseudo_gradients_learn_there():
    """A row just below a JumpReLU's threshold has code zero and a live gradient; `abs`, flat at zero, would hide it."""
    code = torch.tensor([[0.0, -1.0, 2.0]], requires_grad=True)
    L1(L1.Spec(), Sizes(2, 3))(code)["loss"].backward()
    assert code.grad.tolist() == [[1.0, -1.0, 1.0]]
