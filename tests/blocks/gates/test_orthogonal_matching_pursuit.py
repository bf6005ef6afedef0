from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.matching_pursuit import MatchingPursuit
from archsearch.blocks.gates.orthogonal_matching_pursuit import OrthogonalMatchingPursuit
from archsearch.blocks.signals import Sizes
from tests.blocks.gates.pursuit import CASES, FIELDS, activations, built, finite, hopeless, sae, unit
from tests.blocks.gates.shared import k_most, k_now
from tests.blocks.harness import Case, Example, Two, grown


def _fit(heights, units, support, ridge):
    gram = np.array([[sum(units[i] * units[j]) + (ridge if i == j else 0.0) for j in support] for i in support])
    return dict(zip(support, np.linalg.solve(gram, [heights[i] for i in support]))) if support else {}


def reference(settings, ports, tensors):
    rows = ports["dictionary"]
    norms = np.array([np.sqrt(sum(row**2)) for row in rows])
    units = [row / norm for row, norm in zip(rows, norms)]
    code = np.zeros_like(ports["pre"])
    turns = min(round(k_now(settings, ports)), k_most(settings, len(rows)))
    for b, heights in enumerate(ports["pre"] / norms):
        values, first = {}, None
        for _ in range(turns):
            left = [h - sum(value * sum(units[i] * u) for i, value in values.items()) for h, u in zip(heights, units)]
            scores = [-np.inf if i in values else score for i, score in enumerate(left)]
            best = int(np.argmax(scores))
            first = scores[best] if first is None else first
            added = [] if scores[best] <= settings["tolerance"] * max(first, 0.0) else [best]
            found = _fit(heights, units, [*values, *added], settings["ridge"])
            values = {i: value for i, value in found.items() if value > 0}
        for i, value in _fit(heights, units, [*values], settings["ridge"]).items():
            code[b, i] = max(value, 0.0) / norms[i]
    return {"code": code}


def reference_infer(settings, ports, tensors):
    return reference(settings, {name: value for name, value in ports.items() if name != "progress"}, tensors)


EXAMPLE = Example(
    settings={"k": 3},
    cases=(*CASES, Case({"ridge": 0.3})),
    fields={**FIELDS, "ridge": Two(1e-4, 0.3)},
    reference=reference,
    sae=sae,
)


def test_what_was_chosen_first_is_fitted_anew():
    gate = built(OrthogonalMatchingPursuit, 2, 2, k=2, ridge=1e-9).double()
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    x = torch.tensor([[2.2, 1.6]], dtype=torch.float64)  # 1 of the first row and 2 of the second
    torch.testing.assert_close(gate(x @ rows.T, rows)["code"], torch.tensor([[1.0, 2.0]], dtype=torch.float64))
    # Matching pursuit gives the second row all that it can claim at first, 2.6, and never takes it back.
    assert built(MatchingPursuit, 2, 2, k=2).double()(x @ rows.T, rows)["code"][0, 1] > 2.5


def test_what_is_left_is_at_right_angles_to_what_is_on():
    rows, x = unit(20, 6), activations(30, 6)
    code = built(OrthogonalMatchingPursuit, 20, 6, k=4, ridge=1e-12).double()(x @ rows.T, rows)["code"]
    left = (x - code @ rows) @ rows.T
    kept = (code > 0).sum(-1) == 4  # no value was clipped
    assert kept.sum() > 10
    assert (left * (code > 0))[kept].abs().max() < 1e-9


def test_it_explains_at_least_what_matching_pursuit_does():
    rows, x = unit(40, 8), activations(60, 8)
    h = x @ rows.T
    for k in (2, 4, 6):
        greedy, orthogonal = (
            (x - built(cls, 40, 8, k=k).double()(h, rows)["code"] @ rows).square().sum()
            for cls in (MatchingPursuit, OrthogonalMatchingPursuit)
        )
        assert orthogonal < greedy


def test_sparse_codes_of_unlike_rows_are_found():
    rows = unit(24, 64)
    generator = torch.Generator().manual_seed(3)
    truth = torch.zeros(20, 24, dtype=torch.float64)
    for row in truth:
        row[torch.randperm(24, generator=generator)[:3]] = 1 + torch.rand(3, generator=generator, dtype=torch.float64)
    code = built(OrthogonalMatchingPursuit, 24, 64, k=3, ridge=1e-10).double()(truth @ rows @ rows.T, rows)["code"]
    torch.testing.assert_close(code, truth, rtol=1e-6, atol=1e-6)


def test_rows_alike_share():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    code = finite(built(OrthogonalMatchingPursuit, 3, 2, k=3).double(), x @ rows.T, rows)
    np.testing.assert_allclose(code[0, :2].sum(), 2, rtol=1e-3)


@pytest.mark.parametrize("what", hopeless(8))
@pytest.mark.parametrize("k", [1, 3, 50])
def test_little_to_go_by_is_finite(what: str, k: int):
    code = finite(built(OrthogonalMatchingPursuit, 8, 4, k=k).double(), *hopeless(8)[what])
    if what in ("all zero", "all negative"):
        assert not code.any()
    if what == "a row of zeros":
        assert not code[:, 0].any()


def test_nan_stays():
    gate = built(OrthogonalMatchingPursuit, 4, 4, k=2)
    assert gate(torch.full((1, 4), torch.nan), torch.eye(4))["code"].isnan().any()


@pytest.mark.parametrize("k", [2, 6])
def test_behind_a_tied_encoder_values_have_no_gradient_of_the_error(k: int):
    rows, x = unit(20, 6).requires_grad_(), activations(30, 6)
    gate = built(OrthogonalMatchingPursuit, 20, 6, k=k, ridge=1e-10).double()
    pre = x @ rows.T
    code = gate(pre, rows)["code"]
    (into,) = torch.autograd.grad((x - code @ rows.detach()).square().sum(), pre, retain_graph=True)
    clean = (code > 0).sum(-1) == code.detach().gt(0).sum(-1).max()
    assert into[clean].abs().max() < 1e-6
    assert torch.autograd.grad((x - code.detach() @ rows).square().sum(), rows)[0].abs().max() > 0.1


@pytest.mark.parametrize("encoder", [{"kind": "tied_encoder", "bias": False}, "linear_encoder"], ids=["tied", "own rows"])
def test_it_trains(encoder):
    document = sae({"kind": "orthogonal_matching_pursuit", "k": 3})
    document["graph"]["encoder"] = encoder
    document["training"]["tokens"] = 16 * 60
    member = grown(document)
    first, last = (sum(terms.values()) for _, terms in (member.history[0], member.history[-1]))
    assert member.failure is None and last <= first


def test_the_products_and_the_fits_are_counted():
    one, two = (OrthogonalMatchingPursuit.flops(OrthogonalMatchingPursuit.Spec(k=k), Sizes(5, 7)) for k in (1, 2))
    fit = {n: 2 * n * (n + 1) * 5 + 2 * n**3 // 3 for n in (1, 2)}
    assert one == 2 * fit[1] and two == 2 * 5 * 7 + fit[1] + 2 * fit[2]
