from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.blocks.losses.hoyer import Hoyer
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_l1 import JOINED, _free, norms_of, norms_slope, sizes_of


def reference(settings, ports, tensors):
    found = []
    for row in sizes_of(settings, ports):
        if not any(row):
            found.append(0.0)
            continue
        ratio, most = sum(row) / math.sqrt(sum(f * f for f in row)), math.sqrt(len(row))
        found.append(1 - (most - ratio) / (most - 1) if settings["form"] == "score" else ratio)
    return {"loss": np.mean(found)}


def reference_grad(settings, ports, tensors, above):
    """The quotient rule at every entry; at zero the slope of |f| is taken for one (finite differences would cross that kink)."""
    code, norms = ports["code"], np.ones(ports["code"].shape[-1])
    if "dictionary" in ports:
        norms = norms_of(settings, ports["dictionary"])
    by_size, by_norm = np.zeros_like(code), np.zeros_like(norms)
    for place in np.ndindex(code.shape[:-1]):
        row = np.abs(code[place]) * norms
        length = math.sqrt((row**2).sum())
        for i, f in enumerate(row if length else []):
            slope = 1 / length - row.sum() * f / length**3
            by_size[place][i] = slope * norms[i] * (-1 if code[place][i] < 0 else 1)
            by_norm[i] += slope * abs(code[place][i])
    scale = above["loss"] / np.prod(code.shape[:-1]) / (math.sqrt(code.shape[-1]) - 1 if settings["form"] == "score" else 1.0)
    found = {"code": scale * by_size}
    if "dictionary" in ports:
        found |= norms_slope(settings, ports["dictionary"], scale * by_norm)
    return found


EXAMPLE = Example(
    cases=(
        Case(),
        Case({"form": "score"}),
        Case({"norm": "dictionary", "dictionaries": "concatenated"}),
        Case({"form": "score", "norm": "dictionary"}, levels=LEVELS),
    ),
    fields={"form": Two("ratio", "score"), "norm": Two("plain", "dictionary"), "dictionaries": JOINED},
    reference=reference,
    reference_grad=reference_grad,
    sae=_free,
)


def _loss(form: str, code: torch.Tensor) -> torch.Tensor:
    return Hoyer(Hoyer.Spec(form=form), Sizes(2, code.shape[-1]))(code)["loss"]


def test_one_latent_is_as_sparse_as_can_be_and_four_alike_are_not_at_all():
    one, alike = torch.tensor([[0.0, 7.0, 0.0, 0.0]]), torch.full((1, 4), 3.0)
    assert _loss("score", one) == 0 and _loss("score", alike) == 1
    assert _loss("ratio", one) == 1 and _loss("ratio", alike) == 2


@pytest.mark.parametrize("form", ["ratio", "score"])
def test_minimising_it_makes_codes_sparser(form: str):
    """The trap: added with the sign of the sparseness, it makes codes denser."""
    code = torch.tensor([[1.0, 0.8, 0.6, 0.1]], dtype=torch.float64)
    for _ in range(300):
        code.requires_grad_(True)
        (slope,) = torch.autograd.grad(_loss(form, code), code)
        code = (code.detach() - 0.02 * slope).relu()
    assert (code != 0).sum() == 1 and code[0, 0] > 0.9


@pytest.mark.parametrize("form", ["ratio", "score"])
def test_rows_of_zeros_have_no_pull_and_rows_keep_their_size(form: str):
    code = torch.tensor([[0.0, 0.0, 0.0], [3.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    _loss(form, code).backward()
    assert code.grad[0].tolist() == [0.0] * 3
    assert (code.grad[1] * code[1]).sum().item() == pytest.approx(0.0, abs=1e-12) and code.grad[1, 1] > 0 > code.grad[1, 0]


def test_a_single_latent_has_nothing_to_be_compared_with():
    assert _loss("score", torch.tensor([[2.0]])) == 0
