"""One optimizer step as a function of tensors alone, and recordings of it that run without Python.

A small SAE's step is some hundreds of short operations. Between them Python holds its lock, so that members on different cores wait for
each other (`benchmarks.speed` has both). A recording is the list of those operations, which torch's own
interpreter goes through with the lock released. It computes the same numbers to the last bit; what cannot be recorded runs as it is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from archsearch.blocks._splice import Splice
from archsearch.training.member import Member
from archsearch.training.noise import noise_of
from archsearch.training.precision import computing
from archsearch.training.update import Moments, Rules, bounds_of, update
from archsearch.training.window_batches import WindowBatches

Tensors = dict[str, Tensor]
Key = tuple[Any, ...]
Given = tuple[Tensors, Tensor, Tensor, Tensors, Splice | None]
"""Rows, share of the run before the step, its number, noise and splice."""

WORTH = 200
"""Steps a member must have ahead for a recording to be worth its making, which takes as long as some fifty (count)."""

LARGEST = 2**22
"""Learned numbers of an SAE up to which Python counts beside its products (count)."""

MOST = 32
"""Recordings kept, those made last (count)."""


class Step(nn.Module):
    """One step of a member, in place on whatever tensors stand for its parameters, buffers and moments."""

    def __init__(self, member: Member):
        super().__init__()
        self.sae, self.optimizer, self.schedule = member.sae, member.assembly.optimizer, member.assembly.schedule
        self.precision, limit = member.precision, member.assembly.spec.training.clip_norm
        sample = next(self.sae.parameters())
        self.device = sample.device
        self.clip: Tensor | None
        self.register_buffer("clip", None if limit is None else sample.new_tensor(limit))
        self.free = [name for name, value in self.sae.named_parameters() if value.requires_grad]

    def forward(
        self,
        parameters: Tensors,
        moments: Moments,
        rows: Tensors,
        progress: Tensor,
        count: Tensor,
        noise: Tensors,
        splice: Splice | None = None,
    ) -> Tensors:
        """Takes the step and returns the terms of its loss; `count` is its number from 1, `progress` the share of the run before it."""
        rules = Rules(self.sae, self.optimizer, self.schedule, self.clip, stacked=False)
        leaves = {name: parameters[name].detach().requires_grad_() for name in self.free}
        with computing(self.precision, self.device):
            given = (rows, progress, noise, self.schedule(progress), splice)
            loss, terms, state = functional_call(self.sae, {**parameters, **leaves}, given)
        gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        moved = {name: parameters[name] for name in self.free}
        update(rules, moved, dict(zip(moved, gradients)), moments, count, progress)
        with torch.no_grad():
            buffers = dict(self.sae.named_buffers())
            for name, value in state.items():
                buffers[name].copy_(value)
        return {name: value.detach() for name, value in terms.items()}


class Run:
    """The tensors of a member's steps: those that move, in a fixed order, and those each step is given."""

    def __init__(self, member: Member):
        self.member, self.step = member, Step(member)
        self.state = {name: value.detach() for name, value in (*self.step.named_parameters(), *self.step.named_buffers())}
        self.parameters = {name: value.detach() for name, value in member.sae.named_parameters()}
        sample = next(iter(self.parameters.values()))
        self.numbers: dict[str, Any] = {"dtype": sample.dtype, "device": sample.device}
        self.terms: tuple[str, ...] = ()

    def given(self, at: int) -> Given:
        """Returns rows, progress, count, noise and splice of the step after `at` steps."""
        member = self.member
        rows, splice = member.batches.take(at)
        progress = torch.tensor(at / member.total_steps, **self.numbers)
        training = member.assembly.spec.training
        noise = noise_of(member.sae, training.seed, at, training.batch, **self.numbers)
        return rows, progress, torch.tensor(float(at + 1), **self.numbers), noise, splice

    def moving(self) -> list[Tensor]:
        """Returns everything a step reads or changes besides what it is given."""
        return [*self.state.values(), *(value for moments in self.member.moments.values() for value in moments.values())]

    def call(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Takes a step on `moving()` and what is given, one behind the other; returns the terms of its loss, and notes their names."""
        left = iter(tensors)
        state = {name: next(left) for name in self.state}
        moments = {name: {key: next(left) for key in own} for name, own in self.member.moments.items()}
        rows = {name: next(left) for name in self.member.batches.rows}
        progress, count = next(left), next(left)
        noise = dict(zip(self.member.sae.noise(self.member.batches.batch), left))
        parameters = {name: state[f"sae.{name}"] for name in self.parameters}
        terms = functional_call(self.step, state, (parameters, moments, rows, progress, count, noise))
        self.terms = tuple(terms)
        return tuple(terms.values())

    def take(self, recording: Recording | None, moving: Sequence[Tensor]) -> Tensors:
        """Takes the member's next step, in place, and returns the terms of its loss; `moving`: what `moving()` returned."""
        given = self.given(self.member.step)
        if recording is not None:
            return recording.take(moving, _flat(given))
        return self.step(self.parameters, self.member.moments, *given)


class Recording:
    """A recorded step, of a member and of all like it."""

    def __init__(self, program: Callable[..., Any], terms: Sequence[str]):
        self.program, self.terms = program, terms

    def take(self, moving: Sequence[Tensor], given: Sequence[Tensor]) -> Tensors:
        """Takes a step in place on `moving`; returns the terms of its loss."""
        with _interpreting():
            told = self.program(*moving, *given)
        return dict(zip(self.terms, told if isinstance(told, tuple) else (told,), strict=True))  # a lone term comes as it is


class Recordings:
    """Recordings of steps, one for all members that can share it; any number of workers may ask for them."""

    def __init__(self) -> None:
        self._made: OrderedDict[Key, Recording | None] = OrderedDict()
        self._recording = threading.Lock()  # to record, torch wraps functions for all threads

    def of(self, run: Run) -> Recording | None:
        """Returns the recording of a member's step; None where there is none, and where it is not worth making."""
        member = run.member
        large = member.assembly.receipt.parameters > LARGEST
        if large or run.numbers["device"].type != "cpu" or isinstance(member.batches, WindowBatches):
            return None
        key = _key(run)
        if key not in self._made:
            if member.total_steps - member.step < WORTH:
                return None
            with self._recording:
                if key not in self._made:
                    self._made[key] = record(run)
                while len(self._made) > MOST:
                    self._made.popitem(last=False)
        return self._made.get(key)


def record(run: Run) -> Recording | None:
    """Returns a recording of a member's step, the member being left as it is; None where none can be made that computes the same numbers.

    A block that looks at a tensor's values to decide what to do cannot be recorded.
    """
    member = run.member
    first, middle = (_flat(run.given(at)) for at in (member.step, (member.step + member.total_steps) // 2))
    try:
        program = make_fx(run.call)(*_copied(run), *first)
        program.graph.eliminate_dead_code()
        program.recompile()
        made = Recording(_interpreted(program, (*_copied(run), *first)), run.terms)
        return made if all(_same(run, made, given) for given in (first, middle)) else None
    except Exception:  # what a block raises is raised again where the step runs as it is
        return None


def _interpreted(program: Callable[..., tuple[Tensor, ...]], tensors: tuple[Tensor, ...]) -> Callable[..., Any]:
    """Returns a list of operations as a program of torch's interpreter.

    What `torch.jit.trace` does inside; what that returns keeps its example tensors, and its code for as long as the process lives.
    """
    with _interpreting():
        graph, _ = torch.jit._get_trace_graph(lambda *given: program(*given), tensors)  # pyright: ignore[reportPrivateImportUsage]
        return torch._C._create_function_from_graph("step", graph)


def _same(run: Run, made: Recording, given: Sequence[Tensor]) -> bool:
    """Tells whether a recording takes a step as Python does, to the last bit."""
    wanted, found = _copied(run), _copied(run)
    terms = run.call(*wanted, *given)
    told = made.take(found, given).values()
    return all(_equal(one, other) for one, other in zip((*wanted, *terms), (*found, *told), strict=True))


def _equal(one: Tensor, other: Tensor) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())  # two that are no numbers are alike


@contextmanager
def _interpreting() -> Iterator[None]:
    with torch.no_grad(), torch.jit.optimized_execution(False):  # pyright: ignore # optimised, its last bits would differ
        yield


def _copied(run: Run) -> list[Tensor]:
    return [value.clone() for value in run.moving()]


def _flat(given: Given) -> list[Tensor]:
    rows, progress, count, noise, _ = given
    return [*rows.values(), progress, count, *noise.values()]


def _key(run: Run) -> Key:
    """Returns what members must share for one recording to serve them.

    Two of one structure may have their blocks, and so their tensors, in another order, which settings decide too; and the numbers a block's
    program is built with.
    """
    member = run.member
    bounds = [(key, *bound) for key, block in member.sae.blocks.items() for bound in bounds_of(block).items()]
    state = [(name, value.dtype, value.shape) for name, value in run.state.items()]
    moments = [(name, *own) for name, own in member.moments.items()]
    given = (*member.batches.rows, *member.sae.noise(member.batches.batch))
    return member.assembly.receipt.structure, member.precision, *member.sae.graph.nodes, *state, *moments, *given, *bounds
