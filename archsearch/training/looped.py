"""The looped executor: members one by one, a core each, for processors that stacking would only slow down."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from archsearch.training.crew import Stop, Tick
from archsearch.training.looped_crew import LoopedCrew
from archsearch.training.member import Member
from archsearch.training.recording import Recordings, Run


class Looped:
    """Trains each member by itself on one core, as many at a time as there are cores.

    A small SAE's products are too small to split: one core a member beats all cores on one member after another (measured in
    benchmarks/). And one core always, even for a member alone: sums over several threads differ in their last bits, and a member's numbers
    must depend neither on its neighbours nor on the machine's cores.
    """

    name = "looped"

    def __init__(self, cores: int | None = None):
        self.cores = cores or torch.get_num_threads()
        self.recordings = Recordings()

    def abreast(self, alike: int) -> int:
        """Returns how many SAEs it trains at a time where there are as many of one structure as `alike` says, and more of others."""
        return self.cores

    def crew(self, tick: Tick = None, stop: Stop = None) -> LoopedCrew:
        """Returns a crew without members, which has this executor's cores to itself until it is closed."""
        return LoopedCrew(self.cores, self._timed, tick, stop)

    def advance(self, members: list[Member], steps: int) -> None:
        """Takes `steps` steps with every member, in place, and no more: nothing is looked at, and no event happens."""
        before = torch.get_num_threads()
        workers = max(min(self.cores, len(members)), 1)
        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                for future in [pool.submit(self._timed, member, steps) for member in members]:
                    future.result()
        finally:
            torch.set_num_threads(before)

    def _timed(self, member: Member, steps: int) -> None:
        begun = time.perf_counter()
        steps_of(member, steps, self.recordings)
        member.seconds += time.perf_counter() - begun


def steps_of(member: Member, steps: int, recordings: Recordings | None = None) -> None:
    """Takes `steps` steps with one member, in place, with whatever threads the caller has; by a recording where there is one."""
    run = Run(member)
    recording = recordings.of(run) if recordings is not None else None
    moving, terms = run.moving(), dict[str, Tensor]()
    for _ in range(steps):
        terms = run.take(recording, moving)
        member.step += 1
    member.history.append((member.step, {name: float(value) for name, value in terms.items()}))
