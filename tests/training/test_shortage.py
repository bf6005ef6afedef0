"""What happens when memory runs out, planted in the middle of a chunk of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from archsearch.training import recording, stack
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member
from archsearch.training.shortage import out_of_memory
from archsearch.training.stacked import Stacked
from archsearch.training.update import update
from tests.training.runs import COHORTS, MIXED, STEPS, alone, assert_close, assert_equal, begin

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
    ),
]
SENTENCE = "it ran out of memory at step {step}; a smaller `width` or `batch` needs less"
TOPK = COHORTS["batch_topk, revived"]


def tight(limit: int, sizes: list[int], error: Exception) -> Callable[..., None]:
    """Returns an `update` that has memory for `limit` members side by side, and finds out at every third step."""
    calls = 0

    def found(rules: Any, parameters: dict[str, torch.Tensor], *rest: Any) -> None:
        nonlocal calls
        calls += 1
        sizes.append(len(parameters["blocks.encoder.weight"]) if rules.stacked else 1)
        update(rules, parameters, *rest)
        if sizes[-1] > limit and calls % 3 == 0:
            raise error

    return found


@pytest.mark.parametrize("error", ERRORS, ids=["accelerator", "processor"])
def test_a_stack_is_halved_and_ends_as_if_nothing_had_been(error: Exception, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    monkeypatch.setattr(stack, "update", tight(1, sizes, error))
    members, executor = [begin(plain) for plain in TOPK], Stacked()
    train(members, executor)
    for plain, member in zip(TOPK, members):
        assert_close(member, alone(plain))
    assert sizes[:3] == [3, 3, 3] and set(sizes[3:]) == {1}
    later = [begin(plain) for plain in TOPK]
    train(later, executor, until_frac=0.1)
    assert set(sizes[3:]) == {1}, "what fits is remembered"


def test_a_smaller_stack_is_as_large_as_fits(monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    monkeypatch.setattr(stack, "update", tight(2, sizes, ERRORS[0]))
    members = [begin(plain) for plain in (*TOPK, *TOPK[:2])]
    train(members, Stacked())
    for plain, member in zip((*TOPK, *TOPK[:2]), members):
        assert_close(member, alone(plain))
    assert sizes[:3] == [5, 5, 5] and sizes[3] == 2 and set(sizes[3:]) == {1, 2}


@pytest.mark.parametrize("executor", [Looped(cores=2), Stacked()], ids=["looped", "stacked"])
def test_who_does_not_fit_alone_fails_with_what_to_do_and_the_others_go_on(executor: Any, monkeypatch: pytest.MonkeyPatch):
    big, small = begin(TOPK[0]), begin(MIXED[1])

    def narrow(rules: Any, *rest: Any) -> None:
        if rules.sae.graph.nodes["gate"].spec.kind == "batch_topk":
            raise torch.OutOfMemoryError("CUDA out of memory")
        update(rules, *rest)

    for module in (stack, recording):
        monkeypatch.setattr(module, "update", narrow)
    with executor.crew() as crew:
        for member in (big, small):
            crew.add(member, 1.0, lambda member: member.step)
        found = {id(member): result for there in iter(crew.wait, []) for member, result in there}
    assert found == {id(big): None, id(small): STEPS}
    assert big.failure == SENTENCE.format(step=0)
    (assert_equal if isinstance(executor, Looped) else assert_close)(small, alone(MIXED[1]))


@pytest.mark.parametrize("executor", [Looped(cores=2), Stacked()], ids=["looped", "stacked"])
def test_who_cannot_be_measured_for_lack_of_memory_fails_too(executor: Any):
    member = begin(MIXED[0])

    def measure(_: Member) -> Any:
        return torch.empty(2**60)  # refused by the allocator itself

    with executor.crew() as crew:
        crew.add(member, 0.1, measure)
        assert crew.wait() == [(member, None)]
    assert member.failure == SENTENCE.format(step=STEPS // 10)


@pytest.mark.parametrize("error", [MemoryError(), *ERRORS, RuntimeError("CUDA error: out of memory")], ids=repr)
def test_a_lack_of_memory_is_known_by_what_says_so(error: Exception):
    assert out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("not enough memory")], ids=repr)
def test_other_errors_are_not_taken_for_it(error: Exception):
    assert not out_of_memory(error)
