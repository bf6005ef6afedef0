"""Gradient pursuit, against a row at a time in plain Python, and the amortisation gap on SAEs whose encoder is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from archsearch.activations.synthetic import codes, directions
from archsearch.errors import DataError
from archsearch.evaluation.metrics import evaluate
from archsearch.evaluation.pursuit import amortisation, gradient_pursuit, pursuit_flops, refitted
from tests.assembler.decodable import EVERY, trained
from tests.evaluation.planted import by_hand, source


def rows(latents: int = 20, model: int = 6, count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(latents)
    dictionary = torch.nn.functional.normalize(torch.randn(latents, model, generator=generator, dtype=torch.float64), dim=-1)
    x = torch.randn(count, model, generator=generator, dtype=torch.float64)
    x[0], x[1] = 0.0, 2 * dictionary[3]
    x[2] = -dictionary.sum(0)
    return x, dictionary


def by_the_row(x: np.ndarray, dictionary: np.ndarray, k: int, signed: bool) -> np.ndarray:
    found = []
    for row in x:
        code, support = np.zeros(len(dictionary)), []
        for _ in range(k):
            residual = row - sum(code[i] * dictionary[i] for i in range(len(code)))
            inner = [float(d @ residual) for d in dictionary]
            support.append(int(np.argmax(np.abs(inner) if signed else inner)))
            change = sum(inner[i] * dictionary[i] for i in set(support))
            step = (change @ residual) / (change @ change) if change @ change > 0 else 0.0
            for i in set(support):
                code[i] += step * inner[i]
                code[i] = code[i] if signed else max(code[i], 0.0)
        found.append(code)
    return np.array(found)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("k", [1, 3, 8, 25])
def test_codes_are_those_found_a_row_at_a_time(k: int, signed: bool):
    x, dictionary = rows()
    found = gradient_pursuit(x, dictionary, k, signed)
    np.testing.assert_allclose(found.numpy(), by_the_row(x.numpy(), dictionary.numpy(), k, signed), rtol=1e-9, atol=1e-9)
    assert ((found != 0).sum(1) <= k).all() and (signed or (found >= 0).all())


def test_by_eye():
    dictionary = torch.eye(3)
    x = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -3.0]])
    assert gradient_pursuit(x, dictionary, 1).tolist() == [[3, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert gradient_pursuit(x, dictionary, 2).tolist() == [[3, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert gradient_pursuit(x, dictionary, 1, signed=True).tolist() == [[3, 0, 0], [0, 0, 0], [0, 0, -3]]


def test_of_two_equal_rows_of_the_dictionary_one_is_taken():
    found = gradient_pursuit(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]), 2)
    assert found.tolist() == [[2.0, 0.0]]


def test_no_steps_and_dead_rows():
    x, dictionary = rows()
    assert not gradient_pursuit(x, dictionary, 0).any()
    found = gradient_pursuit(x, torch.zeros_like(dictionary), 3)
    assert not found.any() and found.isfinite().all()


def test_refit_is_least_squares_on_the_support():
    x, dictionary = rows()
    support = torch.rand(len(x), 20, generator=torch.Generator().manual_seed(0)) < 0.2
    support[3], support[4] = False, True  # none, and more latents than dimensions
    found = refitted(x, dictionary, support)
    assert not found[~support].any()
    for row, on, code in zip(x.numpy(), support.numpy(), found.numpy(), strict=True):
        best = np.linalg.lstsq(dictionary.numpy()[on].T, row, rcond=None)[0] if on.any() else np.zeros(0)
        np.testing.assert_allclose(code @ dictionary.numpy(), best @ dictionary.numpy()[on], atol=1e-6)


def test_refit_with_rows_of_zeros_and_duplicates():
    x = torch.tensor([[2.0, 1.0], [0.0, 0.0]])
    dictionary = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    found = refitted(x, dictionary, torch.ones(2, 3).bool())
    torch.testing.assert_close(found @ dictionary.double(), torch.tensor([[2.0, 0.0], [0.0, 0.0]]).double())


@pytest.mark.parametrize("name", EVERY)
def test_the_gap_on_every_graph(name: str):
    sae, raw = trained(name)
    found, own = amortisation(sae, raw, batch=50), evaluate(sae, raw)
    assert found.fvu == pytest.approx(own.fvu) and found.code_l0 == pytest.approx(own.code_l0) and found.rows == own.rows
    assert found.k == max(1, round(own.code_l0)) and found.pursuit_l0 <= found.k
    assert found.gap == pytest.approx(math.log(found.fvu / found.pursuit_fvu)) and found.gap == found.values_gap + found.support_gap
    assert found.refit_fvu <= found.fvu * (1 + 1e-9)
    assert amortisation(sae, raw).pursuit_fvu == pytest.approx(found.pursuit_fvu)  # batches do not matter


def test_free_norms_do_not_matter_to_pursuit():
    sae, raw = trained("free norms")
    before = amortisation(sae, raw)
    with torch.no_grad():
        factor = torch.linspace(0.1, 10, 12, dtype=torch.float64)
        sae.block("decoder").dictionary.mul_(factor[:, None])
    after = amortisation(sae, raw)
    assert after.pursuit_fvu == pytest.approx(before.pursuit_fvu) and after.refit_fvu == pytest.approx(before.refit_fvu)
    assert after.fvu != pytest.approx(before.fvu)


def test_shrunk_codes_lose_values_not_support():
    """The supports are the true ones, each value too small by 0.1: refitting mends all of it."""
    spec = source()
    sae = by_hand(torch.eye(11), torch.eye(11), spec)
    raw = {"x": codes(spec, "validate", 0, 3000) @ directions(spec)}
    found = amortisation(sae, raw)
    # Rows of float32: what is left is their rounding.
    assert found.refit_fvu < 1e-10 and found.fvu > 1e-3 and found.values_gap > 10


def test_pursuit_mends_a_poor_encoder():
    spec = source()
    mixed = torch.eye(11) + 0.6 * torch.eye(11).roll(1, 0)  # every latent listens to its neighbour's feature too
    raw = {"x": codes(spec, "validate", 0, 3000) @ directions(spec)}
    good, poor = (amortisation(by_hand(listens, torch.eye(11), spec), raw) for listens in (torch.eye(11), mixed))
    assert poor.gap > good.gap and poor.gap > 0.5


def test_cost():
    assert pursuit_flops(6, 20, 0) == 0
    assert pursuit_flops(6, 20, 1) == 2 * 6 * 20 + 4 * 6 + 4 * 6
    assert pursuit_flops(6, 20, 2) == 2 * (2 * 6 * 20 + 4 * 6) + 4 * 6 * (1 + 2)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="at least one row"):
        amortisation(trained("chain")[0], {"x": torch.zeros(0, 6)})


def test_an_sae_that_diverged_has_no_gap():
    sae, raw = trained("chain")
    with torch.no_grad():
        sae.block("decoder").dictionary[2] = torch.nan
    assert math.isnan(amortisation(sae, raw).gap)
