"""A crew: members in training at the same time, each to a goal of its own; here what the crews of both executors share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from archsearch.training.events import happen
from archsearch.training.member import Member

REPORTS = 20
"""Points of a learning curve over a whole run."""

Tick = Callable[[int], None] | None
Stop = Callable[[], bool] | None
Then = Callable[[Member], Any] | None


class Crew(Protocol):
    """Members in training at the same time: put in whenever the caller likes, handed out as they reach their goals.

    Nobody waits for anybody, and the numbers of a member are a function of its own run alone, whoever trains beside it. A member belongs to
    the crew from `add` until `wait` hands it out; only then, or once `wait` returned nothing, may it be looked at from outside. A crew
    begins to train at the first `wait`.

    `tick` is told rows as they are trained, and `stop` is asked between chunks of steps whether to end early: both from inside `wait`.
    """

    @property
    def pending(self) -> int:
        """How many members are in the crew."""
        ...

    def add(self, member: Member, until_frac: float, then: Then = None, rank: tuple[int, ...] = ()) -> None:
        """Lets a member train until a share of its run.

        Once it is there, and has not failed, `then` is called with it in the crew, and what it returns is handed out too. Where there are
        more members than places, those of lower `rank` go first.
        """
        ...

    def wait(self) -> list[tuple[Member, Any]]:
        """Waits until one or more members reached their goals or failed, and hands them out with what `then` returned (or None).

        Returns nothing once nobody is left, or once `stop` says so: every member then rests between two chunks, and goes on if this is
        called again. What steps, events or `then` raise is raised here, once all rest.
        """
        ...

    def close(self) -> None:
        """Ends what trains in the background, between two chunks."""
        ...

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(eq=False)
class Course:
    """A member's way to its goal.

    `goal`: the step it ends at; `then`, `rank`: as `Crew.add` says; `result`: what `then` returned.
    """

    member: Member
    goal: int
    then: Then
    rank: tuple[int, ...]
    result: Any = None

    @property
    def ended(self) -> bool:
        """Whether the member is at its goal, or failed on its way."""
        return self.member.failure is not None or self.member.step >= self.goal

    def ahead(self) -> int:
        """Returns the steps to the next stop: a point of the learning curve, an event or the goal."""
        member = self.member
        report = math.ceil(member.total_steps / REPORTS)
        next_report = (member.step // report + 1) * report
        return min(next_report, member.next_stop(), self.goal) - member.step

    def arrive(self) -> None:
        """Looks at a stop whether the member has diverged, and lets the events due there happen."""
        _check(self.member, last=self.member.step >= self.goal)
        if self.member.failure is None:
            happen(self.member)

    def finish(self) -> None:
        """Calls `then` at the goal, once."""
        then, self.then = self.then, None
        if then is not None and self.member.failure is None:
            self.result = then(self.member)


def course(member: Member, until_frac: float, then: Then, rank: tuple[int, ...]) -> Course:
    """Returns a member's way to a share of its run."""
    return Course(member, round(member.total_steps * until_frac), then, rank)


def _check(member: Member, last: bool) -> None:
    """Notes a member that has diverged: by the loss of its last step, or (`last`) by what that step made of it, which no loss has seen."""
    step, terms = member.history[-1]
    what, broken = "the loss", [name for name, value in terms.items() if not math.isfinite(value)]
    if last and not broken:
        what, broken = "the SAE", _broken(member)
    if broken:
        member.failure = f"{what} stopped being finite by step {step} ({', '.join(broken)}); a lower learning rate may hold"


@torch.no_grad()
def _broken(member: Member) -> list[str]:
    """Returns the parameters that are not finite; if all are, the codes and outputs that are not, at inference on the last batch."""
    found = [name.removeprefix("blocks.") for name, value in member.parameters().items() if not value.isfinite().all()]
    if found:
        return found
    graph, signals = member.sae.graph, member.sae.signals(member.sae.scale(member.batches.at(member.step - 1)))
    given = [*(dictionary.code for dictionary in graph.dictionaries), *graph.outputs.values()]
    return [name for name in dict.fromkeys(given) if not signals[name].isfinite().all()]
