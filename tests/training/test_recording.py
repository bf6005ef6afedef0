"""Recorded steps: the same numbers as Python's, and Python's wherever a step cannot be recorded."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

from archsearch.assembler.parse import parse
from archsearch.blocks._block import Out
from archsearch.blocks.gates.relu import ReLU
from archsearch.recipes import names, recipe
from archsearch.training import recording
from archsearch.training.loop import train
from archsearch.training.looped import Looped, steps_of
from archsearch.training.member import Member, start
from archsearch.training.recording import Recordings, Run, record
from tests.training.runs import MIXED, assert_equal, begin, document

ROWS = {name: torch.randn(512, 24, generator=torch.Generator().manual_seed(place)) for place, name in enumerate("xyz")}


def small(plain: dict[str, Any], precision: str, steps: int = 400) -> Member:
    """Returns a member of 64 latents on rows of its own inputs."""
    spec = parse({**plain, "width": 64, "training": {**plain["training"], "tokens": 32 * steps, "batch": 32}})
    rows = dict(zip(spec.inputs, ROWS.values()))
    return start(spec, rows, rows, precision=precision)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Records every run, however short; whether it could be, one after another."""
    found: list[bool] = []

    def noted(run: Run) -> Any:
        made = record(run)
        found.append(made is not None)
        return made

    monkeypatch.setattr(recording, "record", noted)
    monkeypatch.setattr(recording, "WORTH", 1)
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", names())
def test_every_recipe_is_recorded_and_trains_to_the_same_bits(name: str, precision: str, recorded: list[bool]):
    member, plain = small(recipe(name), precision), small(recipe(name), precision)
    steps_of(member, 8, Recordings())
    steps_of(plain, 8)
    assert recorded == [True]
    assert_equal(member, plain)


def test_runs_with_events_noise_and_calibration_end_the_same(recorded: list[bool]):
    members = [begin(one) for one in MIXED]
    train(members, Looped(cores=2))
    assert recorded == [True] * len(MIXED)
    for one, member in zip(MIXED, members):
        alone = begin(one)
        executor = Looped(cores=1)
        executor.recordings.of = lambda run: None
        train([alone], executor)
        assert_equal(member, alone)


def test_members_of_a_structure_share_a_recording_but_not_their_settings(recorded: list[bool]):
    def one(lr: float, weight: float, clip: float) -> Member:
        loss = {"sparsity": {"kind": "l1", "weight": weight}}
        return begin(document("relu", losses=loss, training={"optimizer": {"kind": "adam", "lr": lr}, "clip_norm": clip}))

    settings, recordings = ((0.01, 0.3, 0.5), (0.002, 1.0, 5.0)), Recordings()
    for setting in settings:
        member, plain = one(*setting), one(*setting)
        steps_of(member, 10, recordings)
        steps_of(plain, 10)
        assert_equal(member, plain)
    assert recorded == [True]
    for k in (2, 5):
        steps_of(begin(document({"kind": "topk", "k": k})), 2, recordings)
    assert recorded == [True] * 3, "how many are kept is part of the program"


def test_members_whose_terms_stand_in_another_order_share_nothing(recorded: list[bool]):
    """The order of blocks in a graph is a matter of their settings too."""

    def one(weight: float) -> Member:
        plain = recipe("topk")
        plain["losses"]["dead"]["weight"] = weight
        return small(plain, "float32")

    by_order = {tuple(member.sae.graph.nodes): weight for weight in (0.1, 0.26, 0.33, 0.65) if (member := one(weight))}
    assert len(by_order) == 2, "or this test tells nothing"
    recordings = Recordings()
    for weight in by_order.values():
        member, other = one(weight), one(weight)
        assert member.assembly.receipt.structure == one(0.6).assembly.receipt.structure
        steps_of(member, 6, recordings)
        steps_of(other, 6)
        assert_equal(member, other)
    assert recorded == [True, True]


def test_one_whose_numbers_have_gone_is_recorded_too(recorded: list[bool]):
    member = begin(document("relu"))
    next(iter(member.parameters().values())).data[0] = torch.nan
    steps_of(member, 3, Recordings())
    assert recorded == [True]


def test_a_block_that_looks_at_values_runs_as_it_is(recorded: list[bool], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ReLU, "forward", lambda self, pre: Out(code=pre.relu() if pre.mean() > -9 else pre))
    member, plain = begin(document("relu")), begin(document("relu"))
    steps_of(member, 10, Recordings())
    steps_of(plain, 10)
    assert recorded == [False]
    assert_equal(member, plain)


def test_a_recording_that_computes_other_numbers_is_not_used(recorded: list[bool], monkeypatch: pytest.MonkeyPatch):
    calls = count()

    def forward(self: ReLU, pre: Tensor) -> Out:
        return Out(code=pre.relu() * (1 + next(calls)))

    monkeypatch.setattr(ReLU, "forward", forward)
    steps_of(begin(document("relu")), 3, Recordings())
    assert recorded == [False]


def test_what_a_block_raises_is_raised(recorded: list[bool], monkeypatch: pytest.MonkeyPatch):
    def forward(self: ReLU, pre: Tensor) -> Out:
        raise ValueError("planted")

    monkeypatch.setattr(ReLU, "forward", forward)
    with pytest.raises(ValueError, match="planted"):
        steps_of(begin(document("relu")), 3, Recordings())


def test_short_runs_and_large_saes_are_not_recorded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "record", lambda run: pytest.fail("recorded"))
    assert Recordings().of(Run(small(document("relu"), "float32", steps=recording.WORTH - 1))) is None
    monkeypatch.setattr(recording, "LARGEST", 1000)
    assert Recordings().of(Run(small(document("relu"), "float32"))) is None


def test_recordings_made_first_go(recorded: list[bool], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "MOST", 2)
    recordings = Recordings()
    for k in (1, 2, 1, 3, 2, 1):
        recordings.of(Run(begin(document({"kind": "topk", "k": k}))))
    assert len(recorded) == 4, "1, 2 and 3, and 1 again"


def test_a_weight_read_twice_in_16_bits_does_not_tell_who_trains_beside_it():
    """Threads share torch's cache of weights in 16 bits: used, it made gradients depend on who cleared it when."""
    gated = {**document({"kind": "gated", "training": "unfrozen_decoder"}), "losses": {"sparsity": {"kind": "l1", "of": "gate.gate_code"}}}
    members = [small(gated, "bfloat16", steps=150) for _ in range(4)]
    train(members, Looped(cores=4))
    alone = small(gated, "bfloat16", steps=150)
    train([alone], Looped(cores=1))
    for member in members:
        assert_equal(member, alone)
