"""The looped executor: members one by one, a core each, for processors that stacking would only slow down."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import torch

from archsearch.training.crew import Stop, Tick
from archsearch.training.looped_crew import LoopedCrew
from archsearch.training.member import Member
from archsearch.training.noise import noise_of
from archsearch.training.update import Rules, update


class Looped:
    """Trains each member by itself on one core, as many at a time as there are cores.

    A small SAE's products are too small to split: one core a member beats all cores on one member after another (measured in
    benchmarks/). And one core always, even for a member alone: sums over several threads differ in their last bits, and a member's numbers
    must depend neither on its neighbours nor on the machine's cores.
    """

    name = "looped"

    def __init__(self, cores: int | None = None):
        self.cores = cores or torch.get_num_threads()

    def abreast(self, alike: int) -> int:
        """Returns how many SAEs it trains at a time where there are as many of one structure as `alike` says, and more of others."""
        return self.cores

    def crew(self, tick: Tick = None, stop: Stop = None) -> LoopedCrew:
        """Returns a crew without members, which has this executor's cores to itself until it is closed."""
        return LoopedCrew(self.cores, _timed, tick, stop)

    def advance(self, members: list[Member], steps: int) -> None:
        """Takes `steps` steps with every member, in place, and no more: nothing is looked at, and no event happens."""
        before = torch.get_num_threads()
        workers = max(min(self.cores, len(members)), 1)
        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                for future in [pool.submit(_timed, member, steps) for member in members]:
                    future.result()
        finally:
            torch.set_num_threads(before)


def _timed(member: Member, steps: int) -> None:
    begun = time.perf_counter()
    steps_of(member, steps)
    member.seconds += time.perf_counter() - begun


def computing(precision: str, device: torch.device):
    """Returns the context products are computed in."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def steps_of(member: Member, steps: int) -> None:
    """Takes `steps` steps with one member, in place, with whatever threads the caller has."""
    training = member.assembly.spec.training
    named = [(name, value) for name, value in member.sae.named_parameters() if value.requires_grad]
    leaves = [value for _, value in named]
    parameters = {name: value.data for name, value in named}
    device = leaves[0].device
    numbers = {"dtype": leaves[0].dtype, "device": device}
    clip = None if training.clip_norm is None else torch.tensor(training.clip_norm, **numbers)
    rules = Rules(member.sae, member.assembly.optimizer, member.assembly.schedule, clip, stacked=False)  # pyright: ignore
    buffers = dict(member.sae.named_buffers())
    terms: dict[str, torch.Tensor] = {}
    for _ in range(steps):
        progress = torch.tensor(member.step / member.total_steps, **numbers)
        noise = noise_of(member.sae, training.seed, member.step, training.batch, **numbers)
        rows, splice = member.batches.take(member.step)
        with computing(member.precision, device):
            loss, terms, state = member.sae(rows, progress, noise, rules.schedule(progress), splice)
        gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
        count = torch.tensor(float(member.step + 1), **numbers)
        update(rules, parameters, dict(zip(parameters, gradients)), member.moments, count, progress)
        with torch.no_grad():
            for name, value in state.items():
                buffers[name].copy_(value)
        member.step += 1
    member.history.append((member.step, {name: float(value.detach()) for name, value in terms.items()}))
