"""A stack: members of one structure as one program under `vmap`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from archsearch.assembler.sae import SAE
from archsearch.blocks._splice import Splice
from archsearch.training.member import Member
from archsearch.training.noise import noise_of
from archsearch.training.precision import computing
from archsearch.training.together import Together
from archsearch.training.update import Rules, bounds_of, update
from archsearch.training.window_batches import WindowBatches

Tensors = dict[str, Tensor]
Terms = dict[str, float]


class Stack:
    """Copies of everything that moves in some members, with a leading member axis.

    Members share structure, batch and precision; they may stand at different steps of their runs and differ in numeric settings.
    """

    def __init__(self, members: Sequence[Member]):
        self.members = members
        self.first = members[0]
        self.program = _widest(members)
        self.together: Together | None = None
        self.parameters = _stack([dict(member.sae.named_parameters()) for member in members])
        self.buffers = _stack([dict(member.sae.named_buffers()) for member in members])
        self.moments = {name: _stack([member.moments[name] for member in members]) for name in self.first.moments}
        self.rules = self._rules()

    def _rules(self) -> Rules:
        optimizer, schedule = (_stacked_settings([getattr(m.assembly, what) for m in self.members]) for what in ("optimizer", "schedule"))
        limits = [member.assembly.spec.training.clip_norm for member in self.members]
        sample = next(iter(self.parameters.values()))
        clip = None if limits[0] is None else torch.tensor(limits, dtype=sample.dtype, device=sample.device)
        return Rules(self.program, optimizer, schedule, clip, stacked=True)

    def advance(self, steps: int) -> list[Terms]:
        """Takes `steps` steps with every member and returns the terms of each one's last loss.

        Members are written to at the end, all at once: an error before leaves them as they were, but not the stack.
        """
        free = {name for name, value in self.first.sae.named_parameters() if value.requires_grad}
        leaves = {name: value.requires_grad_() for name, value in self.parameters.items() if name in free}
        fixed = {name: value for name, value in self.parameters.items() if name not in free}
        data = {name: value.detach() for name, value in leaves.items()}
        sample = next(iter(data.values()))
        at = [[member.step + step for member in self.members] for step in range(steps)]
        shared = len(set(self._seen(at[0]))) == 1
        own = None if shared else 0
        step_of = vmap(self._one, in_dims=(0, 0, own, 0, 0, 0, own))
        progress = sample.new_tensor([[step / member.total_steps for member, step in zip(self.members, now)] for now in at])
        numbers = sample.new_tensor([[step + 1.0 for step in now] for now in at])
        terms: Tensors = {}
        for now, done, number in zip(at, progress, numbers):
            rate = self.rules.schedule(done)
            batch, splices = self._batch(now, shared)
            with computing(self.first.precision, sample.device):
                noise = self._noise(now, sample)
                losses, terms, state = step_of({**leaves, **fixed}, self.buffers, batch, done, noise, rate, splices)
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
            update(self.rules, data, dict(zip(data, gradients)), self.moments, number, done)
            with torch.no_grad():
                for name, value in state.items():
                    self.buffers[name].copy_(value)
        told = {name: value.detach().tolist() for name, value in terms.items()}
        self._write(steps)
        return [{name: values[index] for name, values in told.items()} for index in range(len(self.members))]

    def _one(
        self, parameters: Tensors, buffers: Tensors, inputs: Tensors, progress: Tensor, noise: Tensors, rate: Tensor, splices: Tensors
    ) -> Any:
        splice = self.together.one(splices) if self.together is not None else None
        return functional_call(self.program, (parameters, buffers), (inputs, progress, noise, rate, splice))

    def _noise(self, at: Sequence[int], sample: Tensor) -> Tensors:
        numbers = {"dtype": sample.dtype, "device": sample.device}
        seeds = [(member.sae, member.assembly.spec.training.seed, step, member.batches.batch) for member, step in zip(self.members, at)]
        drawn = [noise_of(*seed, **numbers) for seed in seeds]
        return {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}

    def _seen(self, at: Sequence[int]) -> list[tuple[int, int]]:
        """Returns what decides, of members of the same data and batch, which rows each one sees at its step."""
        return [(member.batches.seed, step) for member, step in zip(self.members, at)]

    def _batch(self, at: Sequence[int], shared: bool) -> tuple[Tensors, Tensors]:
        """Returns the rows of a step and what splices are made of, with a member axis unless they are `shared` by all."""
        taken: dict[tuple[int, int], tuple[Tensors, Splice | None]] = {}
        for member, step, seen in zip(self.members, at, self._seen(at)):
            if seen not in taken:
                taken[seen] = member.batches.take(step)
        parts = [taken[seen] for seen in self._seen(at)][: 1 if shared else None]
        rows = _joined([rows for rows, _ in parts], shared)
        windows = [member.batches for member in self.members if isinstance(member.batches, WindowBatches)]
        if not windows:
            return rows, {}
        numbers = torch.cat([batches.numbers(step) for batches, step in zip(windows, at)])
        self.together = Together(windows[0], numbers)
        return rows, _joined([self.together.tensors(splice) for _, splice in parts if splice is not None], shared)

    @torch.no_grad()
    def _write(self, steps: int) -> None:
        for index, member in enumerate(self.members):
            for value, stacked in self._pairs(member):
                value.copy_(stacked[index])
            member.step += steps

    @torch.no_grad()
    def read(self, index: int) -> None:
        """Takes over what an event changed in a member."""
        for value, stacked in self._pairs(self.members[index]):
            stacked[index].copy_(value)

    def _pairs(self, member: Member) -> list[tuple[Tensor, Tensor]]:
        """Returns every tensor that moves in a member, each with the stacked one it is a part of."""
        found = [(value, self.parameters[name]) for name, value in member.sae.named_parameters()]
        found += [(value, self.buffers[name]) for name, value in member.sae.named_buffers()]
        return found + [(value, self.moments[name][key]) for name, moments in member.moments.items() for key, value in moments.items()]


def _stack(many: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([one[name].detach() for one in many]) for name in many[0]}


def _joined(parts: Sequence[Tensors], shared: bool) -> Tensors:
    return parts[0] if shared else _stack(parts)


def _widest(members: Sequence[Member]) -> SAE:
    """Returns a program whose static bounds (such as the largest k) hold every member's settings."""
    program = copy.deepcopy(members[0].sae)
    for key, block in program.blocks.items():
        for name in bounds_of(block):
            setattr(block, name, max(getattr(member.sae.blocks[key], name) for member in members))
    return program


def _stacked_settings(blocks: Sequence[Any]) -> Any:
    stacked = copy.deepcopy(blocks[0])
    for name in stacked.settings:
        setattr(stacked, name, torch.stack([getattr(block, name) for block in blocks]))
    return stacked
