"""Measures against planted features, on SAEs put together by hand."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from archsearch.activations.synthetic import codes, directions, parents_of
from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.errors import DataError
from archsearch.evaluation.recovery import Detection, pair_up, recovery_of, uniqueness
from tests.evaluation.planted import absorbing, by_hand, document, source


@pytest.mark.parametrize("child_scale", [0.5, 1.0, 2.0])
def test_a_perfect_dictionary(child_scale: float):
    spec = source(child_scale=child_scale)
    found = recovery_of(by_hand(torch.eye(11), torch.eye(11), spec), spec)
    assert found.mcc == pytest.approx(1.0) and found.uniqueness == 1.0
    assert (found.precision, found.recall, found.f1, found.parent_f1, found.child_f1) == (1.0,) * 5
    assert (found.absorption, found.parents_found) == (0.0, 1.0) and found.absorbed_frac == 0.0
    assert found.rows == 3000


def test_order_and_sign_and_size_of_the_rows_do_not_matter():
    spec = source()
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    sign = torch.where(torch.arange(11) % 2 == 0, 1.0, -2.0)[:, None]
    found = recovery_of(by_hand(torch.eye(11)[order], (torch.eye(11) * sign)[order], spec), spec)
    assert found.mcc == pytest.approx(1.0) and found.f1 == 1.0


@pytest.mark.parametrize("child_scale", [0.5, 1.0, 2.0])
def test_a_planted_absorbed_dictionary(child_scale: float):
    """Where a child is on, its parent's latent is off, and the child's row holds both."""
    spec = source(child_scale=child_scale)
    found = recovery_of(by_hand(*absorbing(spec), spec), spec)
    assert found.absorption == 1.0 and found.absorbed_frac == 1.0 and found.parents_found == 1.0
    assert found.child_f1 == 1.0 and found.recall < 1.0 and found.precision == 1.0
    # A parent's latent is on in the rows without any of its children.
    true = codes(spec, "validate", 0, 3000) > 0
    recalls = [float((~true[:, (parents_of(spec) == p)].any(1))[true[:, p]].double().mean()) for p in range(3)]
    assert found.parent_f1 == pytest.approx(np.mean([2 * r / (1 + r) for r in recalls]))


def test_half_absorbed():
    """The child's row holds half of its parent while the parent's own latent stays on with its full strength."""
    spec = source(exclusive=True, child_scale=1.0)
    _, says = absorbing(spec, share=0.5)
    found = recovery_of(by_hand(torch.eye(11), says, spec), spec)
    assert found.absorption == 0.0
    true = codes(spec, "validate", 0, 3000)
    fractions = []
    kept = torch.where(true > 0, true - 0.1, 0.0)
    for parent in range(3):
        children = (parents_of(spec) == parent).nonzero().flatten()
        rows = (true[:, children] > 0).any(1)
        gained = 0.5 * kept[rows][:, children].sum(1)
        fractions.append(float((gained / (gained + kept[rows, parent])).double().mean()))
    assert found.absorbed_frac == pytest.approx(np.mean(fractions), rel=1e-6)


def test_a_silent_parent_that_nothing_speaks_for_is_missed_not_absorbed():
    spec = source()
    listens, _ = absorbing(spec)
    found = recovery_of(by_hand(listens, torch.eye(11), spec), spec)
    assert found.absorption == 0.0 and found.absorbed_frac == 0.0 and found.parent_f1 < 1


def test_features_without_a_latent_count_as_not_found():
    spec = source()
    found = recovery_of(by_hand(torch.eye(11)[:4], torch.eye(11)[:4], spec), spec)
    assert found.mcc == pytest.approx(1.0) and found.f1 == pytest.approx(4 / 11)
    assert found.parent_f1 == 1.0 and found.child_f1 == pytest.approx(1 / 6) and found.absorption == 0.0


def test_a_parent_that_is_not_found_is_not_judged():
    spec = source()
    found = recovery_of(by_hand(torch.eye(11)[3:], torch.eye(11)[3:], spec), spec)
    assert found.parents_found == 0.0 and math.isnan(found.absorption) and math.isnan(found.absorbed_frac)
    assert found.parent_f1 == 0.0 and found.child_f1 == 1.0


def test_a_parent_whose_row_points_elsewhere_is_not_judged():
    spec = source()
    sae = by_hand(torch.eye(11), torch.eye(11), spec)
    aside = torch.linalg.svd(directions(spec).double()).Vh[11:14]  # at right angles to every feature
    with torch.no_grad():
        for parent, cosine in enumerate((0.55, 0.45, 0.01)):
            row = cosine * directions(spec)[parent].double() + (1 - cosine**2) ** 0.5 * aside[parent]
            sae.block("decoder").dictionary[parent] = row
    found = recovery_of(sae, spec)
    assert found.parents_found == pytest.approx(1 / 3) and found.absorption == 0.0
    assert found.mcc == pytest.approx((8 + 0.55 + 0.45 + 0.01) / 11)


@pytest.mark.parametrize(("share", "absorbed"), [(0.2, 0.0), (0.3, 1.0)])
def test_a_child_carries_its_parent_from_a_quarter_on(share: float, absorbed: float):
    spec = source(child_scale=2.0)
    found = recovery_of(by_hand(*absorbing(spec, share), spec), spec)
    assert (found.absorption, found.absorbed_frac) == (absorbed, absorbed)


def test_without_a_tree_there_is_nothing_to_absorb():
    spec = source(hierarchy=None)
    found = recovery_of(by_hand(torch.eye(11), torch.eye(11), spec), spec)
    assert found.f1 == 1.0
    assert all(math.isnan(value) for value in (found.absorption, found.absorbed_frac, found.parents_found, found.parent_f1))


def test_dead_latents_and_rows_of_zeros():
    spec = source()
    listens, says = torch.eye(12)[:, :11], torch.eye(12)[:, :11]
    listens[5] = says[5] = 0.0
    found = recovery_of(by_hand(listens, says, spec), spec)
    assert found.f1 == pytest.approx(10 / 11) and found.mcc == pytest.approx(10 / 11)
    assert math.isfinite(found.absorption)


def test_pairs_are_the_best_of_all():
    generator = torch.Generator().manual_seed(1)
    rows, truth = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    cosines = np.abs([[float(a @ b / a.norm() / b.norm()) for b in truth] for a in rows])
    best = max(permutations(range(5)), key=lambda p: sum(cosines[i, p[i]] for i in range(5)))
    found = pair_up(rows, truth)
    assert found.latent.tolist() == list(range(5)) and tuple(found.feature.tolist()) == best
    assert found.cosine.mean() == pytest.approx(np.mean([cosines[i, best[i]] for i in range(5)]))
    assert uniqueness(rows, truth) == len(set(cosines.argmax(1))) / 5


def test_detection_by_eye():
    on = torch.tensor([[1, 0], [1, 0], [0, 0], [1, 0]]).bool()
    truth = torch.tensor([[1, 0], [0, 0], [1, 1], [1, 0]]).bool()
    found = Detection(torch.tensor([0, 1]), torch.tensor([0, 1]))
    found.add(on[:3], truth[:3])
    found.add(on[3:], truth[3:])
    assert found.precision.tolist() == [2 / 3, 0] and found.recall.tolist() == [2 / 3, 0] and found.f1.tolist() == [2 / 3, 0]


def test_two_views_of_one_code():
    spec = source(hooks=2)
    names = ["view.0", "view.1"]
    graph: dict[str, Any] = {
        "early": {"kind": "linear_encoder", "from": "view.0"},
        "gate": "relu",
        "to_0": {"kind": "linear_decoder", "norm": "free"},
        "to_1": {"kind": "linear_decoder", "norm": "free", "from": "gate"},
    }
    losses = {
        f"reconstruction{number}": {"kind": "squared_error", "from": {"reconstruction": f"to_{number}", "target": name}}
        for number, name in enumerate(names)
    }
    losses["reconstruction"] = losses.pop("reconstruction0")
    spec_of = {**document(11), "inputs": names, "graph": graph, "outputs": {"view.0": "to_0", "view.1": "to_1"}, "losses": losses}
    sae = assemble(parse(spec_of), model=24, dtype=torch.float64).sae
    with torch.no_grad():
        sae.scaling("view.1").factor.fill_(7.0)
        sae.block("early").weight.copy_(torch.linalg.pinv(directions(spec).double()).T)
        sae.block("early").bias.fill_(-0.1)
        for number, factor in enumerate((1.0, 7.0)):
            sae.block(f"to_{number}").dictionary.copy_(factor * directions(spec, number).double())
    found = recovery_of(sae, spec)
    assert found.mcc == pytest.approx(1.0) and found.f1 == 1.0


def test_an_sae_of_other_rows_is_refused():
    with pytest.raises(DataError, match=r"of width 24 and named view\.0, view\.1; got an SAE of width 24 that reads or rebuilds x"):
        recovery_of(by_hand(torch.eye(11), torch.eye(11), source()), source(hooks=2))


def test_an_sae_that_diverged_is_refused():
    sae = by_hand(torch.eye(11), torch.eye(11), source())
    with torch.no_grad():
        sae.block("decoder").dictionary[2] = torch.nan
    with pytest.raises(DataError, match="must be finite"):
        recovery_of(sae, source())
