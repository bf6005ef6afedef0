"""What holds of any topology that trains: both executors agree, the error falls, nothing stands still."""

from __future__ import annotations

from collections.abc import Callable

import torch

from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member
from archsearch.training.stacked import Stacked
from tests.blocks.harness import data


def trained_in_both(begin: Callable[[], list[Member]]) -> list[Member]:
    """Trains members side by side and stacked, and returns the first lot; `begin` makes them anew each time, of one structure."""
    alone, stacked = begin(), begin()
    assert len({member.assembly.receipt.structure for member in alone}) == 1
    rows = data(tuple(alone[0].assembly.spec.inputs))
    fresh = [evaluate(member.sae, rows).fvu for member in alone]
    first = {name: value.clone() for name, value in alone[0].parameters().items()}
    train(alone, Looped())
    train(stacked, Stacked())
    for one, other, before in zip(alone, stacked, fresh, strict=True):
        assert one.failure is None and one.done
        assert evaluate(one.sae, rows).fvu < before
        assert_same(one, other)
    for name, value in alone[0].parameters().items():
        assert not torch.equal(value, first[name]), f"{name} is never trained"
    return alone


def assert_same(one: Member, other: Member, **bounds: float) -> None:
    """Compares parameters, settings and state of two members, to rounding in 64 bits unless `bounds` say otherwise."""
    for name, value in one.sae.state_dict().items():
        torch.testing.assert_close(other.sae.state_dict()[name], value, **{"rtol": 1e-9, "atol": 1e-12, **bounds})
