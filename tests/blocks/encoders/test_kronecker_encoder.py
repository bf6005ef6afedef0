from __future__ import annotations

import math

import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.encoders.kronecker_encoder import KroneckerEncoder
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from archsearch.training.member import start
from tests.blocks.harness import Case, Example, Two, base, data


def _factors(settings, ports, tensors):
    """Returns `u` and `v` of every row, before their ReLUs."""

    def affine(row, name):
        shift = tensors.get(f"{name}_bias", [0.0] * len(tensors[f"{name}_weight"]))
        return [sum(w * value for w, value in zip(ws, row)) + b for ws, b in zip(tensors[f"{name}_weight"], shift)]

    return [(affine(row, "base"), affine(row, "extension")) for row in ports["x"]]


def _latents(settings, u, v):
    """Yields the places of the two factors of each latent: heads, then bases, then extensions."""
    m, n = settings["base"], len(v) // settings["heads"]
    for head in range(settings["heads"]):
        for i in range(m):
            for j in range(n):
                yield head * m + i, head * n + j


def reference(settings, ports, tensors):
    out = []
    for u, v in _factors(settings, ports, tensors):
        out.append([math.sqrt(u[i] * v[j]) if u[i] > 0 and v[j] > 0 else 0.0 for i, j in _latents(settings, u, v)])
    return {"pre": out}


def reference_grad(settings, ports, tensors, above):
    """The slope of a factor's root is 1 / (2 sqrt(u)), held where u is under 1e-5."""
    grads = {name: 0 * tensors[name] for name in tensors} | {"x": 0 * ports["x"]}

    def root(value):
        return math.sqrt(max(value, 0.0))

    def slope(value):
        return 0.5 / math.sqrt(max(value, 1e-5)) if value > 0 else 0.0

    for b, (u, v) in enumerate(_factors(settings, ports, tensors)):
        for latent, (i, j) in enumerate(_latents(settings, u, v)):
            g = above["pre"][b][latent]
            for name, place, step in (("base", i, g * slope(u[i]) * root(v[j])), ("extension", j, g * slope(v[j]) * root(u[i]))):
                grads[f"{name}_weight"][place] += step * ports["x"][b]
                grads["x"][b] += step * tensors[f"{name}_weight"][place]
                if settings["bias"]:
                    grads[f"{name}_bias"][place] += step
    return grads


EXAMPLE = Example(
    settings={"heads": 2, "base": 2},
    cases=(Case(), Case({"bias": False}), Case({"heads": 1}), Case({"heads": 4, "base": 1}), Case({"heads": 2, "base": 4})),
    fields={"heads": Two(1, 2), "base": Two(1, 2), "bias": Two(True, False)},
    reference=reference,
    reference_grad=reference_grad,
)


def test_a_head_of_two_by_two_by_hand():
    block = KroneckerEncoder(KroneckerEncoder.Spec(heads=1, base=2, bias=False), Sizes(model=2, latent=4))
    block.base_weight.data = torch.tensor([[4.0, 0.0], [-1.0, 0.0]])
    block.extension_weight.data = torch.tensor([[0.0, 9.0], [1.0, 0.0]])
    # u = (4, -1), v = (9, 1): the second base is off, and all it takes part in.
    assert block(torch.tensor([[1.0, 1.0]]))["pre"].tolist() == [[6.0, 2.0, 0.0, 0.0]]


def test_a_latent_is_on_where_both_its_factors_are():
    block = KroneckerEncoder(KroneckerEncoder.Spec(heads=1, base=1, bias=False), Sizes(model=2, latent=1))
    block.base_weight.data, block.extension_weight.data = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    on = block(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, 0.0]]))["pre"]
    assert on[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("small", [0.0, 1e-45, 1e-30, 1e-12, -1e-12])
def test_gradients_stay_finite_where_the_root_is_steepest(small: float):
    block = KroneckerEncoder(KroneckerEncoder.Spec(heads=1, base=1, bias=False), Sizes(model=2, latent=1))
    block.base_weight.data, block.extension_weight.data = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    x = torch.tensor([[small, 4.0]], requires_grad=True)
    pre = block(x)["pre"]
    (found,) = torch.autograd.grad(pre.sum(), x)
    assert found.isfinite().all() and found.abs().max() <= 2 * 0.5 / 1e-5**0.5 * 1.001
    assert (found[0, 0] > 0) == (small > 0), "a factor that is off gets no gradient"


def test_it_does_not_start_dead():
    document = base()
    document["graph"]["encoder"] = {"kind": "kronecker_encoder", "heads": 3, "base": 2}
    sae = start(parse(document), data(), data(), precision="float64").sae
    on = sae.block("encoder")(data()["x"] - data()["x"].mean(0))["pre"] > 0
    assert 0.15 < on.double().mean() < 0.35, "each factor is on for half the rows: a quarter of the pairs"
    assert on.any(0).all()


@pytest.mark.parametrize(("heads", "m"), [(5, 1), (4, 2), (12, 2)])
def test_what_does_not_divide_is_refused(heads: int, m: int):
    document = base()
    document["graph"]["encoder"] = {"kind": "kronecker_encoder", "heads": heads, "base": m}
    with pytest.raises(AssemblyError, match=rf"graph\.encoder.*heads={heads}.*base={m}.*12 latents"):
        assemble(parse(document), model=6)


def test_flops_count_both_factors_and_their_products():
    spec = KroneckerEncoder.Spec(heads=2, base=2)
    assert KroneckerEncoder.flops(spec, Sizes(model=5, latent=24)) == 2 * (5 * 2 * (2 + 6) + 24)
