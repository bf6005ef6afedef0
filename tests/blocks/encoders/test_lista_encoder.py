from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import nnls

from archsearch.blocks.encoders.lista_encoder import ListaEncoder
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two


def _squared_norm(rows: np.ndarray) -> float:
    direction = rows.sum(0) + rows[0]
    for _ in range(10):
        direction = direction / np.sqrt(sum(direction**2))
        direction = sum(row * sum(row * direction) for row in rows)
    return float(np.sqrt(sum(direction**2)))


def reference(settings, ports, tensors):
    rows = ports.get("dictionary")
    layers = range(1, settings["layers"] + 1)
    own = settings["weights"] == "untied"
    weights = [tensors["weight" if layer == 1 else f"weight_{layer}"] if own else rows for layer in layers]
    found = []
    for x in ports["x"]:
        pre = np.array([sum(w * x) - theta for w, theta in zip(weights[0], tensors["theta_1"])]) * tensors["steps"][0]
        codes = [np.maximum(pre, 0.0)]
        for layer in layers[1:]:
            ahead = codes[-1].copy()
            if settings["momentum"] and layer > 2:
                ahead += tensors["rho"][layer - 3] * (codes[-1] - codes[-2])
            left = x - sum(value * row for value, row in zip(ahead, rows))
            step = tensors["steps"][layer - 1] / _squared_norm(rows)
            pre = np.array(
                [y + step * (sum(w * left) - theta) for y, w, theta in zip(ahead, weights[layer - 1], tensors[f"theta_{layer}"])]
            )
            codes.append(np.maximum(pre, 0.0))
        found.append(pre)
    return {"pre": found}


EXAMPLE = Example(
    settings={"threshold": 0.1},
    cases=(
        Case(),
        Case({"layers": 1}),
        Case({"weights": "tied"}),
        Case({"layers": 1, "weights": "tied"}),
        Case({"layers": 4, "momentum": True}),
        Case({"weights": "tied", "momentum": True}),
    ),
    fields={
        "layers": Two(1, 3),
        "weights": Two("untied", "tied"),
        "momentum": Two(False, True),
        "threshold": Two(0.0, 0.3),
    },
    reference=reference,
)


def encoder(latent: int, model: int, **settings) -> ListaEncoder:
    return ListaEncoder(ListaEncoder.Spec(**settings), Sizes(model, latent))


def test_one_layer_is_a_linear_encoder_less_its_thresholds():
    block = encoder(2, 2, layers=1, weights="tied", threshold=0.5)
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    torch.testing.assert_close(block(torch.tensor([[2.0, 1.0]]), rows)["pre"], torch.tensor([[1.5, 1.5]]))


def test_of_two_latents_alike_one_step_takes_away_what_both_claimed():
    block = encoder(2, 2, layers=2, weights="tied", threshold=0.0)
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # squared norm 2
    # Both say 3, together 6, of which 3 are too many: each gives up half of that.
    torch.testing.assert_close(block(torch.tensor([[3.0, 0.0]]), rows)["pre"], torch.tensor([[1.5, 1.5]]))


def lasso(x: np.ndarray, rows: np.ndarray, penalty: float) -> np.ndarray:
    """Minimises |x - z D|^2 / 2 + penalty sum z over z >= 0, as non-negative least squares with one more coordinate."""
    big = 1e5
    matrix = np.vstack([rows.T, np.full((1, len(rows)), 1 / big)])
    # |x - zD|^2 + (sum z / big + penalty big)^2 = |x - zD|^2 + 2 penalty sum z + (sum z / big)^2 + a constant.
    return nnls(matrix, np.append(x, -penalty * big))[0]


@pytest.mark.parametrize("momentum", [False, True])
def test_many_tied_layers_solve_the_non_negative_lasso(momentum: bool):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(12, 6, generator=generator, dtype=torch.float64)
    rows /= rows.norm(dim=-1, keepdim=True)
    x = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    block = encoder(12, 6, layers=800, weights="tied", threshold=0.2, momentum=momentum).double()
    code = block(x, rows)["pre"].detach().relu()
    for row, found in zip(x.numpy(), code.numpy()):
        np.testing.assert_allclose(found, lasso(row, rows.numpy(), 0.2), atol=2e-4)
    assert 0 < (code > 1e-6).double().mean() < 0.6


def test_momentum_gets_there_sooner():
    generator = torch.Generator().manual_seed(1)
    rows, x = torch.randn(12, 6, generator=generator), torch.randn(20, 6, generator=generator)

    def cost(momentum: bool) -> float:
        block = encoder(12, 6, layers=10, weights="tied", threshold=0.2, momentum=momentum)
        if momentum:
            block.rho.data.fill_(0.8)
        code = block(x, rows)["pre"].detach().relu()
        return float(((x - code @ rows).square().sum(-1) / 2 + 0.2 * code.sum(-1)).mean())

    assert cost(True) < cost(False)


@pytest.mark.parametrize("common", [0.0, 1.0, 10.0], ids=lambda value: f"common direction {value:g}")
def test_it_contracts_whatever_the_dictionary_has_become(common: float):
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(64, 8, generator=generator) + common
    rows = rows * torch.linspace(0.1, 3, 64)[:, None]
    x = torch.randn(30, 8, generator=generator)
    errors = []
    for layers in (2, 4, 16, 64):
        code = encoder(64, 8, layers=layers, weights="tied", threshold=0.0)(x, rows)["pre"].detach().relu()
        errors.append(float((x - code @ rows).square().sum()))
    assert errors == sorted(errors, reverse=True)


def test_a_dictionary_of_zeros_is_finite():
    block = encoder(3, 2, weights="tied")
    rows = torch.zeros(3, 2, requires_grad=True)
    pre = block(torch.ones(1, 2), rows)["pre"]
    pre.sum().backward()
    assert pre.isfinite().all() and rows.grad is not None and rows.grad.isfinite().all()


def test_momentum_without_two_codes_before_a_layer_is_refused():
    with pytest.raises(ValidationError, match="three layers at least"):
        ListaEncoder.Spec(layers=2, momentum=True)


def test_the_step_keeps_thresholds_steps_and_momenta_legal():
    block = encoder(2, 2, momentum=True)
    with torch.no_grad():
        for value in block.parameters():
            value.fill_(-3.0)
        block.rho.fill_(7.0)
    block.renormalise({name: value.data for name, value in block.named_parameters()})
    assert block.rho.tolist() == [1.0] and block.steps.tolist() == [0.0] * 3
    assert block.theta_2.tolist() == [0.0, 0.0] and block.weight_2.tolist() == [[-3.0, -3.0]] * 2


def test_flops_count_one_product_and_two_more_each_layer():
    assert ListaEncoder.flops(ListaEncoder.Spec(layers=3), Sizes(5, 7)) == 2 * 5 * 7 * (1 + 2 * 2)
