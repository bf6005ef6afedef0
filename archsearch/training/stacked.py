"""The stacked executor: members of one structure as one program under `vmap`, for a GPU that one small SAE leaves idle."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from archsearch.assembler.sae import SAE
from archsearch.training.looped import computing
from archsearch.training.member import Member
from archsearch.training.noise import noise_of
from archsearch.training.together import Together
from archsearch.training.update import Rules, update
from archsearch.training.window_batches import WindowBatches

Tensors = dict[str, Tensor]


class Stacked:
    """Trains members of one structure side by side; each ends as if trained alone.

    Members must share structure, batch, precision and the step they are at; numeric settings may differ.
    """

    name = "stacked"

    def advance(self, members: list[Member], steps: int, tick: Callable[[int], None] | None = None) -> None:
        """Takes `steps` steps with every member, in place; `tick` is told the rows trained."""
        groups: dict[Any, list[Member]] = {}
        for member in members:
            key = (member.assembly.receipt.structure, member.step, member.precision, id(member.batches.rows))
            groups.setdefault(key, []).append(member)
        for group in groups.values():
            begun = time.perf_counter()
            _Stack(group).advance(steps)
            spent = time.perf_counter() - begun
            for member in group:
                member.seconds += spent / len(group)
            if tick:
                tick(steps * sum(member.batches.batch for member in group))


class _Stack:
    def __init__(self, members: list[Member]):
        self.members = members
        self.first = members[0]
        self.program = _widest(members)
        self.together: Together | None = None
        self.parameters = _stack([dict(member.sae.named_parameters()) for member in members])
        self.buffers = _stack([dict(member.sae.named_buffers()) for member in members])
        self.moments = {
            name: {key: torch.stack([m.moments[name][key] for m in members]) for key in self.first.moments[name]}
            for name in self.first.moments
        }
        self.rules = self._rules()

    def _rules(self) -> Rules:
        optimizer, schedule = (_stacked_settings([getattr(m.assembly, what) for m in self.members]) for what in ("optimizer", "schedule"))
        limits = [member.assembly.spec.training.clip_norm for member in self.members]
        sample = next(iter(self.parameters.values()))
        clip = None if limits[0] is None else torch.tensor(limits, dtype=sample.dtype, device=sample.device)
        return Rules(self.program, optimizer, schedule, clip, stacked=True)

    def advance(self, steps: int) -> None:
        free = {name for name, value in self.first.sae.named_parameters() if value.requires_grad}
        leaves = {name: value.requires_grad_() for name, value in self.parameters.items() if name in free}
        fixed = {name: value for name, value in self.parameters.items() if name not in free}
        data = {name: value.detach() for name, value in leaves.items()}
        sample = next(iter(data.values()))
        count = len(self.members)
        seeds = {member.batches.seed for member in self.members}
        own = None if len(seeds) == 1 else 0
        step_of = vmap(self._one, in_dims=(0, 0, own, 0, 0, 0, own))
        terms: dict[str, Tensor] = {}
        for step in range(self.first.step, self.first.step + steps):
            progress = sample.new_full((count,), step / self.first.total_steps)
            rate = self.rules.schedule(progress)
            batch, splices = self._batch(step, shared=len(seeds) == 1)
            with computing(self.first.precision, sample.device):
                noise = self._noise(step, sample)
                losses, terms, state = step_of({**leaves, **fixed}, self.buffers, batch, progress, noise, rate, splices)
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
            number = sample.new_full((count,), float(step + 1))
            update(self.rules, data, dict(zip(data, gradients)), self.moments, number, progress)
            with torch.no_grad():
                for name, value in state.items():
                    self.buffers[name].copy_(value)
        self._write_back(steps, terms)

    def _one(
        self, parameters: Tensors, buffers: Tensors, inputs: Tensors, progress: Tensor, noise: Tensors, rate: Tensor, splices: Tensors
    ) -> Any:
        splice = self.together.one(splices) if self.together is not None else None
        return functional_call(self.program, (parameters, buffers), (inputs, progress, noise, rate, splice))

    def _noise(self, step: int, sample: Tensor) -> Tensors:
        numbers = {"dtype": sample.dtype, "device": sample.device}
        drawn = [noise_of(m.sae, m.assembly.spec.training.seed, step, m.batches.batch, **numbers) for m in self.members]
        return {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}

    def _batch(self, step: int, shared: bool) -> tuple[Tensors, Tensors]:
        """Returns the rows of a step and what splices are made of, with a member axis unless they are `shared` by all."""
        windows = [member.batches for member in self.members if isinstance(member.batches, WindowBatches)]
        if windows:
            self.together = Together(windows, step, shared)
            return self.together.rows, self.together.tensors
        if shared:
            return self.first.batches.at(step), {}
        batches = [member.batches.at(step) for member in self.members]
        return {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]}, {}

    @torch.no_grad()
    def _write_back(self, steps: int, terms: dict[str, Tensor]) -> None:
        told = {name: value.detach().tolist() for name, value in terms.items()}
        for index, member in enumerate(self.members):
            for name, value in member.sae.named_parameters():
                value.copy_(self.parameters[name][index])
            for name, value in member.sae.named_buffers():
                value.copy_(self.buffers[name][index])
            for name, moments in member.moments.items():
                for key, value in moments.items():
                    value.copy_(self.moments[name][key][index])
            member.step += steps
            member.history.append((member.step, {name: values[index] for name, values in told.items()}))


def _stack(many: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name].detach() for one in many]) for name in many[0]}


def _widest(members: list[Member]) -> SAE:
    """Returns a program whose static bounds (such as the largest k) hold every member's settings."""
    program = copy.deepcopy(members[0].sae)
    for key, block in program.blocks.items():
        for name in [name for name in vars(block) if name.endswith("_bound")]:
            setattr(block, name, max(getattr(member.sae.blocks[key], name) for member in members))
    return program


def _stacked_settings(blocks: list[Any]) -> Any:
    stacked = copy.deepcopy(blocks[0])
    for name in stacked.settings:
        setattr(stacked, name, torch.stack([getattr(block, name) for block in blocks]))
    return stacked
