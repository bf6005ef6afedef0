"""Synthetic rows with parents and children, and with frequencies that fall by a power law."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from archsearch.activations import open_activations
from archsearch.activations.synthetic import codes, directions, mean_strength, parents_of
from archsearch.spec.activations import Hierarchy, SyntheticSource

ROWS = 8192


def source(features: int = 20, active: float = 3.0, decay: float = 0.0, **tree: Any) -> SyntheticSource:
    planted = Hierarchy(**({"parents": 4, "children": 3, "child_on": 0.25} | tree))
    return SyntheticSource(source="synthetic", features=features, model=16, active=active, hierarchy=planted, decay=decay, rows=ROWS)


def drawn(spec: SyntheticSource, chunks: int = 4) -> torch.Tensor:
    spec = spec.model_copy(update={"rows": chunks * ROWS})
    return torch.cat([codes(spec, "train", ROWS * chunk, ROWS) for chunk in range(chunks)])


@pytest.mark.parametrize(
    ("settings", "fingerprint", "code"),
    [
        (
            {"features": 50, "model": 20, "active": 5.0, "rows": 20_000, "eval_rows": 500},
            "4be9e6d79147f22522f600991d0aaa8010ce0dde8cf5b59ae7d4763392aaf7d4",
            "f324eb734bfe5a37",
        ),
        (
            {"features": 8, "model": 4, "active": 2, "hooks": 2, "seed": 3, "rows": 100, "eval_rows": 50},
            "9419b2bb3ab88fe67df77c261b1ae8fc9dcd3732f08225cd8a6a03b1183b888a",
            "7e5e170ecdc3e958",
        ),
    ],
)
def test_sources_without_a_tree_are_what_they_were(settings: dict[str, Any], fingerprint: str, code: str):
    spec = SyntheticSource(source="synthetic", **settings)
    assert open_activations(spec).fingerprint == fingerprint
    assert hashlib.sha256(codes(spec, "test", 0, 50).numpy().tobytes()).hexdigest()[:16] == code
    assert not set(open_activations(spec).provenance) & {"hierarchy", "decay"}


def test_the_tree_is_told():
    assert parents_of(source(features=18)).tolist() == [-1] * 4 + [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [-1] * 2
    plain = SyntheticSource(source="synthetic", features=3, model=4, active=1)
    assert parents_of(plain).tolist() == [-1] * 3 and mean_strength(plain).tolist() == [1.0] * 3
    assert open_activations(source()).provenance["hierarchy"]["child_on"] == 0.25


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_children_are_on_only_below_their_parents_and_as_often_as_asked(exclusive: bool, decay: float):
    spec = source(exclusive=exclusive, decay=decay)
    on = drawn(spec) > 0
    tree = parents_of(spec)
    for child in (tree >= 0).nonzero().flatten():
        parent = on[:, tree[child]]
        assert not (on[:, child] & ~parent).any()
        assert abs(on[parent, child].double().mean() - 0.25) < 5 * (0.25 / int(parent.sum())) ** 0.5
    family = on[:, 4:16].unflatten(1, (4, 3)).sum(-1)
    assert int(family.max()) == (1 if exclusive else 3)
    assert abs(on.sum(1).double().mean() - 3.0) < 0.05
    shares = on.double().mean(0)
    for ranked in (shares[:4], shares[16:]):  # parents among themselves, and those that stand alone
        expected = spec.commonest * torch.arange(1.0, 5.0, dtype=torch.float64) ** -decay
        assert torch.allclose(ranked, expected, atol=0.015)


def test_frequencies_fall_without_a_tree_too():
    spec = SyntheticSource(source="synthetic", features=30, model=16, active=2.0, decay=1.0, rows=ROWS)
    shares = (drawn(spec) > 0).double().mean(0)
    assert abs(shares.sum() - 2.0) < 0.05 and abs(shares[0] / shares[9] - 10) < 1.5
    assert open_activations(spec).fingerprint != open_activations(spec.model_copy(update={"decay": 0.0})).fingerprint


def test_children_are_as_strong_as_asked():
    spec = source(child_scale=3.0)
    code = drawn(spec)
    child = code[:, 4:16]
    assert child[child > 0].min() >= 1.5 and child.max() <= 4.5
    assert code[:, :4].max() <= 1.5 and code[:, 16:].max() <= 1.5
    assert mean_strength(spec).tolist() == [1.0] * 4 + [3.0] * 12 + [1.0] * 4


def test_rows_are_sums_of_the_features_in_every_view():
    spec = source().model_copy(update={"hooks": 2, "eval_rows": 100})
    opened = open_activations(spec)
    for number, name in enumerate(opened.names):
        assert torch.equal(opened.features[name], directions(spec, number))
        assert torch.allclose(opened.split("test")[name], codes(spec, "test", 0, 100) @ directions(spec, number), atol=1e-6)


@pytest.mark.parametrize("change", [{"exclusive": True}, {"child_on": 0.3}, {"child_scale": 2.0}, {"children": 2}, {"parents": 3}])
def test_every_setting_of_a_tree_has_its_own_fingerprint(change: dict[str, Any]):
    assert open_activations(source(**change)).fingerprint != open_activations(source()).fingerprint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"features": 15}, r"`features` must hold parents and children \(16\); got 15"),
        ({"exclusive": True, "child_on": 0.5}, "children \\* child_on` is the probability that any child is on, at most 1; got 1.5"),
        ({"features": 16, "active": 8.0}, "the commonest feature would have to be on with probability 1.14"),
        ({"active": 6.0, "decay": 2.0}, "lower `active`"),
        ({"parents": 0}, "parents"),
        ({"child_on": 0.0}, "child_on"),
    ],
)
def test_trees_that_cannot_be(settings: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        source(**settings)


def test_a_tree_on_every_row_may_be_exclusive_and_certain():
    spec = source(features=16, active=8.0, child_on=1 / 3, exclusive=True)  # parents always on, always with one child
    on = drawn(spec, chunks=1) > 0
    assert on[:, :4].all() and torch.equal(on[:, 4:].sum(1), torch.full((ROWS,), 4))
