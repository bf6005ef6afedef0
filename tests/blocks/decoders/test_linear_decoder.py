from __future__ import annotations

import pytest
import torch

from archsearch.blocks.decoders.linear_decoder import LinearDecoder
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import LEVELS, Case, Example, Two


def reference(settings, ports, tensors):
    rows = ports.get("dictionary", tensors.get("dictionary"))
    shift = ports.get("bias", tensors.get("bias", [0.0] * rows.shape[1]))
    code = ports["code"].reshape(-1, rows.shape[0])
    out = [[sum(f * row[j] for f, row in zip(codes, rows)) + shift[j] for j in range(rows.shape[1])] for codes in code]
    return {"reconstruction": torch.tensor(out, dtype=torch.float64).reshape(*ports["code"].shape[:-1], -1)}


EXAMPLE = Example(
    cases=(
        Case(),
        Case({"norm": "free", "bias": False}),
        Case(levels=LEVELS),
        Case({"norm": "free"}, wired=("dictionary", "bias")),
        Case(wired=("bias",)),
    ),
    fields={"norm": Two("unit", "free"), "bias": Two(True, False)},
    reference=reference,
)


def _decoder(**settings) -> LinearDecoder:
    return LinearDecoder(LinearDecoder.Spec(**settings), Sizes(2, 2, {"code": (Info(Signal.CODE, 2),)}))


def test_rows_add_up():
    decoder = _decoder()
    decoder.dictionary.data, decoder.bias.data = torch.tensor([[1.0, 0.0], [0.0, -1.0]]), torch.tensor([0.5, 0.5])
    assert decoder(torch.tensor([[2.0, 3.0]]))["reconstruction"].tolist() == [[2.5, -2.5]]


@pytest.mark.parametrize("members", [(), (3,)])
def test_unit_norm_keeps_the_gradient_tangent_and_the_rows_at_one(members: tuple[int, ...]):
    decoder = _decoder()
    rows = torch.nn.functional.normalize(torch.randn(*members, 5, 4, dtype=torch.float64), dim=-1)
    gradient = torch.randn(*members, 5, 4, dtype=torch.float64)
    before = gradient.clone()
    decoder.project({"dictionary": gradient}, {"dictionary": rows})
    assert (gradient * rows).sum(-1).abs().max() < 1e-14
    removed = before - gradient
    torch.testing.assert_close(removed, (removed * rows).sum(-1, keepdim=True) * rows)  # nothing but the radial part went
    moved = {"dictionary": rows - 0.3 * gradient}
    decoder.renormalise(moved)
    torch.testing.assert_close(moved["dictionary"].norm(dim=-1), torch.ones(*members, 5, dtype=torch.float64))


def test_free_rows_are_left_alone():
    decoder = _decoder(norm="free")
    rows, gradient = torch.full((2, 2), 3.0), torch.ones(2, 2)
    decoder.project({"dictionary": gradient}, {"dictionary": rows})
    decoder.renormalise({"dictionary": rows})
    assert (rows == 3).all() and (gradient == 1).all()


def test_a_wired_dictionary_cannot_be_kept_at_unit_norm():
    sizes = Sizes(2, 2, {"code": (Info(Signal.CODE, 2),), "dictionary": (Info(Signal.WEIGHT, 2),)})
    with pytest.raises(AssemblyError, match="norm: free"):
        LinearDecoder(LinearDecoder.Spec(), sizes)
