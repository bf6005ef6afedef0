from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.losses.l1 import L1
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError, InvalidInput
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def norms_of(settings, dictionaries):
    """Returns `|d_i|` over all dictionaries: the sum of the norms, or the root of the summed squares of all entries."""
    squares = [[sum(v * v for v in row) for row in rows] for rows in dictionaries]
    joined = settings["dictionaries"] == "concatenated"
    return np.array([sum(of) ** 0.5 if joined else sum(one**0.5 for one in of) for of in zip(*squares, strict=True)])


def sizes_of(settings, ports):
    """Returns `|f_i|` of every row of every level, times `|d_i|` where there are dictionaries."""
    code = ports["code"].reshape(-1, ports["code"].shape[-1])
    norms = norms_of(settings, ports["dictionary"]) if "dictionary" in ports else [1.0] * code.shape[1]
    return [[abs(f) * n for f, n in zip(row, norms)] for row in code]


def norms_slope(settings, dictionaries, above):
    """Returns the gradient of each dictionary, given that of `|d_i|`."""
    own = [np.array([sum(v * v for v in row) ** 0.5 for row in rows]) for rows in dictionaries]
    joined = norms_of(settings, dictionaries) if settings["dictionaries"] == "concatenated" else None
    return {
        f"dictionary.{i}": (above / (norms if joined is None else joined))[:, None] * rows
        for i, (norms, rows) in enumerate(zip(own, dictionaries, strict=True))
    }


def reference(settings, ports, tensors):
    return {"loss": np.mean([sum(row) for row in sizes_of(settings, ports)])}


def two_hooks(spec):
    """Returns a crosscoder: two decoders read one code."""
    document = base()
    document["inputs"] = ["a", "b"]
    document["graph"] = {
        "one": {"kind": "linear_encoder", "from": "a"},
        "two": {"kind": "linear_encoder", "bias": False, "from": "b"},
        "both": {"kind": "add", "from": ["one", "two"]},
        "gate": "relu",
        "to_a": {"kind": "linear_decoder", "norm": "free", "from": "gate"},
        "to_b": {"kind": "linear_decoder", "norm": "free", "from": "gate"},
    }
    document["outputs"] = {"a": "to_a", "b": "to_b"}
    document["losses"]["sparsity"] = spec
    return document


JOINED = Two("sum", "concatenated", {"norm": "dictionary"}, two_hooks)


def _free(spec):
    document = base()
    document["graph"]["decoder"] = {"kind": "linear_decoder", "norm": "free"}
    document["losses"]["sparsity"] = spec
    return document


EXAMPLE = Example(
    cases=(Case(), Case({"norm": "dictionary", "dictionaries": "concatenated"}), Case({"norm": "dictionary"}, levels=LEVELS)),
    fields={"norm": Two("plain", "dictionary"), "dictionaries": JOINED},
    reference=reference,
    sae=_free,
)


def test_absolute_values_add_up_and_rows_are_averaged():
    assert L1(L1.Spec(), Sizes(2, 2))(torch.tensor([[1.0, -2.0], [0.0, 5.0]]))["loss"] == 4.0


def test_a_dictionary_row_twice_as_long_counts_twice():
    loss = L1(L1.Spec(norm="dictionary"), Sizes(2, 1))
    assert loss(torch.tensor([[1.0]]), [torch.tensor([[0.0, 2.0]])])["loss"] == 2.0


def test_norms_of_two_dictionaries_add_up_or_are_those_of_rows_side_by_side():
    """Norms 3 and 4: 7 together, 5 side by side."""
    rows, two = [torch.tensor([[0.0, 3.0]]), torch.tensor([[4.0, 0.0]])], (Info(Signal.DICTIONARY, 2),) * 2
    for joined, norm in (("sum", 7.0), ("concatenated", 5.0)):
        loss = L1(L1.Spec(norm="dictionary", dictionaries=joined), Sizes(2, 1, {"dictionary": two}))
        assert loss(torch.tensor([[2.0]]), rows)["loss"] == 2 * norm


def test_a_single_dictionary_has_nothing_beside_it():
    with pytest.raises(AssemblyError, match="`dictionaries: concatenated` cannot act on one dictionary"):
        assemble(parse(_free({"kind": "l1", "norm": "dictionary", "dictionaries": "concatenated"})), model=6)
    with pytest.raises(InvalidInput, match="dictionaries: 'concatenated' cannot act with norm: plain"):
        parse(two_hooks({"kind": "l1", "dictionaries": "concatenated"}))


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
