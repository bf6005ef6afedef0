from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.training.member import start
from tests.blocks.harness import Example, Two, base, data, grown

EXAMPLE = Example(
    fields={"blend": Two(0.5, 1.0), "bias": Two("zero", "geometric_median"), "rows": Two(16, 200)},
    no_reference="draws; what must hold of the draws is tested here",
)


def _sae(graph: dict[str, Any] | None = None, rows: Any = None, **init: Any):
    document = base()
    document["graph"] |= graph or {}
    given = data() if rows is None else rows
    return start(parse({**document, "init": {"kind": "data_points", **init}}), given, given, precision="float64").sae


def _nearest(rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Returns the largest cosine of each row with a point."""
    away = torch.nn.functional.normalize(points - points.mean(0), dim=-1)
    return (torch.nn.functional.normalize(rows, dim=-1) @ away.T).max(-1).values


def test_without_noise_rows_are_different_data_points():
    sae = _sae(blend=1.0, bias="zero")
    rows = sae.block("decoder").dictionary
    ones = torch.ones(12, dtype=torch.float64)
    torch.testing.assert_close(_nearest(rows, sae.scale(data())["x"]), ones)
    torch.testing.assert_close(rows.norm(dim=-1), ones)
    assert ((rows @ rows.T).tril(-1) < 1 - 1e-9).all()


def test_a_row_by_hand():
    # Two points on a line: away from their mean they are one direction and its opposite, whatever the scale.
    rows = {"x": torch.tensor([[1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)}
    sae = _sae(rows=rows, blend=1.0, bias="mean")
    assert sorted(sae.block("decoder").dictionary[:2, 0].tolist()) == [-1.0, 1.0]
    torch.testing.assert_close(sae.block("decoder").bias.data, sae.scale(rows)["x"].mean(0))


def test_noise_turns_rows_away_from_data_points():
    points = _sae().scale(data())["x"]
    near, nearer = (_nearest(_sae(blend=blend, bias="zero").block("decoder").dictionary, points).mean() for blend in (0.5, 0.9))
    assert 0.7 < near < nearer < 1 - 1e-6


def test_the_encoder_starts_as_the_dictionary():
    for graph in ({}, {"decoder": {"kind": "linear_decoder", "norm": "free"}}):
        sae = _sae(graph)
        torch.testing.assert_close(sae.block("encoder").weight.data, sae.block("decoder").dictionary.data)


def test_a_dictionary_tied_to_the_encoder_starts_from_data_too():
    decoder = {"kind": "linear_decoder", "norm": "free", "from": {"code": "gate", "dictionary": "encoder.weight"}}
    sae = _sae({"decoder": decoder}, blend=1.0, bias="zero")
    torch.testing.assert_close(_nearest(sae.block("encoder").weight, sae.scale(data())["x"]), torch.ones(12, dtype=torch.float64))


def test_a_second_stage_starts_from_what_the_first_leaves_over():
    stage = {
        "kind": "sae",
        "width": 6,
        "graph": {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 2}, "decoder": "linear_decoder"},
    }
    graph = {"first": stage, "rest": {"kind": "subtract", "from": ["x", "first"]}, "second": stage}
    document = {**base(), "graph": {**graph, "output": {"kind": "add", "from": ["first", "second"]}}, "losses": {}}
    sae = start(parse({**document, "init": {"kind": "data_points", "blend": 1.0, "bias": "zero"}}), data(), data(), precision="float64").sae
    signals = sae.signals(sae.scale(data()))
    best = {
        name: _nearest(sae.block(f"{name}/decoder").dictionary, signals[of]).min()
        for name, of in (("first", "x"), ("second", "rest.difference"))
    }
    assert best["first"] > 1 - 1e-9
    # In whichever order the two are started, both are data points of one of the residuals there were.
    assert best["second"] > 0.5


@pytest.mark.parametrize("count", [2, 5])
def test_fewer_points_than_latents_are_used_again(count: int):
    sae = _sae(rows={"x": data()["x"][:count]}, blend=0.9)
    rows = sae.block("decoder").dictionary
    assert rows.isfinite().all() and (rows.norm(dim=-1) > 0.99).all()
    assert ((rows @ rows.T).tril(-1) < 1 - 1e-9).all()  # noise tells them apart


def test_points_without_a_direction_leave_the_random_row():
    rows = {"x": torch.ones(40, 6, dtype=torch.float64)}
    dictionary = _sae(rows=rows, blend=1.0).block("decoder").dictionary
    torch.testing.assert_close(dictionary.norm(dim=-1), torch.ones(12, dtype=torch.float64))


def test_it_trains():
    assert grown({**base(), "init": {"kind": "data_points"}}).failure is None
