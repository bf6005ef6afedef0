"""The stacked executor: members of one structure as one program, for a GPU that one small SAE leaves idle."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import torch

from archsearch.errors import InvalidInput
from archsearch.training.crew import Course, Crew, Stop, Then, Tick, course
from archsearch.training.member import Member
from archsearch.training.shortage import fitting, out_of_memory, too_big
from archsearch.training.stack import Stack, Terms

Key = tuple[str, str]


class Stacked:
    """Trains members of one structure side by side, wherever each stands in its run; each ends as if trained alone.

    A stack that does not fit into memory is halved and goes on from where it was; later ones of its structure are no larger than what fits.

    Args:
        most: members of a stack, at most; as many as there are by default.
    """

    name = "stacked"

    def __init__(self, most: int | None = None):
        if most is not None and most < 1:
            raise InvalidInput([f"a stack must hold at least one member; got most={most!r}"])
        self.most = most
        self._room: dict[Key, int] = {}

    def abreast(self, alike: int) -> int:
        """Returns how many SAEs it trains at a time where there are as many of one structure as `alike` says, and more of others."""
        return min(alike, self.most or alike)

    def crew(self, tick: Tick = None, stop: Stop = None) -> StackedCrew:
        """Returns a crew without members."""
        return StackedCrew(self, tick, stop)

    def advance(self, members: Sequence[Member], steps: int) -> None:
        """Takes `steps` steps with every member, in place, and no more: nothing is looked at, and no event happens."""
        for first in members:
            group = [member for member in members if _alike(member, first)]
            if first is group[0]:
                for member, terms in zip(group, Stack(group).advance(steps)):
                    member.history.append((member.step, terms))

    def room(self, member: Member) -> int | None:
        """Returns how many members like this one a stack may have, as far as is known."""
        known = (self.most, self._room.get(_structure(member)))
        return min((most for most in known if most is not None), default=None)

    def halve(self, members: Sequence[Member]) -> None:
        """Takes note that as many members like these do not fit into memory."""
        self._room[_structure(members[0])] = len(members) // 2


class StackedCrew(Crew):
    """Members in training in stacks, one stack at a time: that of the member of lowest rank (of equal ones, the one that came first).

    A stack goes on to the nearest stop of any member in it. Then who is at its goal leaves it, and who came meanwhile joins.

    Args:
        executor: knows how large a stack may be.
        tick, stop: as `Crew` says.
    """

    def __init__(self, executor: Stacked, tick: Tick = None, stop: Stop = None):
        self.executor, self.tick, self.stop = executor, tick, stop
        self._courses: list[Course] = []  # by rank, then by who came first
        self._aboard: list[Course] = []
        self._stack: Stack | None = None

    @property
    def pending(self) -> int:
        return len(self._courses)

    def add(self, member: Member, until_frac: float, then: Then = None, rank: tuple[int, ...] = ()) -> None:
        insort(self._courses, course(member, until_frac, then, rank), key=lambda each: each.rank)

    def wait(self) -> list[tuple[Member, Any]]:
        while self._courses and not (self.stop and self.stop()):
            ended = [each for each in self._courses if each.ended]
            if not ended:
                self._advance(self._next())
                continue
            self._with_each(ended, Course.finish)
            self._courses = [each for each in self._courses if each not in ended]
            return [(each.member, each.result) for each in ended]
        return []

    def close(self) -> None:
        self._aboard, self._stack = [], None

    def _next(self) -> list[Course]:
        first = self._courses[0].member
        group = [each for each in self._courses if _alike(each.member, first)]
        return group[: self.executor.room(first)]

    def _advance(self, group: list[Course]) -> None:
        begun, ahead = perf_counter(), [each.ahead() for each in group]
        steps = min(ahead)
        told = self._steps(group, steps)
        if told is None:
            return
        spent = (perf_counter() - begun) / len(group)
        for each in group:
            each.member.seconds += spent
        there = {each: terms for each, distance, terms in zip(group, ahead, told) if distance == steps}
        for each, terms in there.items():
            each.member.history.append((each.member.step, terms))
        self._with_each(there, self._arrive)
        if self.tick:
            self.tick(steps * sum(each.member.batches.batch for each in group))

    def _arrive(self, one: Course) -> None:
        one.arrive()
        if self._stack is not None:
            self._stack.read(self._aboard.index(one))

    def _steps(self, group: list[Course], steps: int) -> list[Terms] | None:
        """Returns the terms of every member's last loss; None if there was not enough memory, and the members are as they were."""
        try:
            if self._stack is None or self._aboard != group:
                self.close()  # before the next takes its memory
                self._aboard, self._stack = group, Stack([each.member for each in group])
            return self._stack.advance(steps)
        except Exception as error:
            self.close()
            if not out_of_memory(error):
                raise
        torch.cuda.empty_cache()  # only here: what the failed step held is freed with its error
        members = [each.member for each in group]
        if len(members) > 1:
            self.executor.halve(members)
        else:
            too_big(members[0])
        return None

    def _with_each(self, courses: Iterable[Course], act: Callable[[Course], None]) -> None:
        """Does something with every member in turn; where that raises it leaves the crew, and the first error is raised at the end."""
        errors: list[Exception] = []
        for each in courses:
            try:
                with fitting(each.member):
                    act(each)
            except Exception as error:
                self._courses.remove(each)
                errors.append(error)
        if errors:
            raise errors[0]


def _structure(member: Member) -> Key:
    return member.assembly.receipt.structure, member.precision


def _alike(one: Member, other: Member) -> bool:
    """Returns whether two members may be stacked."""
    return _structure(one) == _structure(other) and one.batches.rows is other.batches.rows
