"""The crew of the looped executor: members take turns on a pool of workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from itertools import count
from threading import Condition
from typing import Any

import torch

from archsearch.training.crew import Course, Crew, Stop, Then, Tick, course
from archsearch.training.member import Member
from archsearch.training.shortage import fitting


class LoopedCrew(Crew):
    """Members in training on workers of one torch thread each.

    A worker takes the waiting member of lowest rank (of equal ones, the one that waits longest) through one chunk of steps, the events
    behind it and, at the goal, `then`; after that the member waits again. All of it takes one torch thread, as does what the caller
    computes until the crew is closed, so that no number depends on how many cores the machine has.

    Args:
        cores: workers.
        advance: takes a number of steps with a member, in place.
        tick, stop: as `Crew` says.
    """

    def __init__(self, cores: int, advance: Callable[[Member, int], None], tick: Tick = None, stop: Stop = None):
        self.advance, self.tick, self.stop = advance, tick, stop
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
        self._news = Condition()
        self._waiting: list[tuple[tuple[int, ...], int, Course]] = []  # a heap: by rank, then by who came first
        self._places = count()
        self._ended: list[Course] = []
        self._rows: list[int] = []  # trained, not yet told
        self._errors: list[BaseException] = []
        self._pending = self._running = 0
        self._turns = 0  # given to workers that have not begun them
        self._flowing = False  # whether members go on by themselves: while nobody waits whom `stop` could tell
        self._held = False  # whether turns that were given are void

    @property
    def pending(self) -> int:
        return self._pending

    def add(self, member: Member, until_frac: float, then: Then = None, rank: tuple[int, ...] = ()) -> None:
        with self._news:
            self._pending += 1
            self._line_up(course(member, until_frac, then, rank))

    def wait(self) -> list[tuple[Member, Any]]:
        with self._news:
            self._flowing = False
        try:
            while not self._stopped():
                with self._news:
                    if self._errors:
                        raise self._errors.pop(0)
                    self._held = False
                    self._give_turns()
                    if self._ended or not self._pending:
                        self._flowing = True
                        return self._handed_out()
                    self._news.wait_for(lambda: self._rows or self._ended or self._errors)
        except BaseException:
            self._rest()
            raise
        self._rest()
        self._tell()
        return []

    def close(self) -> None:
        self._rest()
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)

    def _stopped(self) -> bool:
        self._tell()
        return self.stop is not None and self.stop()

    def _tell(self) -> None:
        with self._news:
            rows, self._rows = self._rows, []
        if self.tick is not None:
            for each in rows:
                self.tick(each)

    def _handed_out(self) -> list[tuple[Member, Any]]:
        ended, self._ended = self._ended, []
        self._pending -= len(ended)
        return [(each.member, each.result) for each in ended]

    def _rest(self) -> None:
        """Lets nobody begin another chunk, and waits for those that run."""
        with self._news:
            self._flowing, self._held = False, True
            self._news.wait_for(lambda: not self._running)

    def _line_up(self, waiting: Course) -> None:
        heappush(self._waiting, (waiting.rank, next(self._places), waiting))
        if self._flowing:
            self._give_turns()

    def _give_turns(self) -> None:
        """Gives as many turns as members wait for one; whose they are is found when they begin, so that a low rank need not wait."""
        for _ in range(len(self._waiting) - self._turns):
            self._turns += 1
            self._pool.submit(self._turn)

    def _turn(self) -> None:
        with self._news:
            self._turns -= 1
            if self._held or not self._waiting:
                return
            taken = heappop(self._waiting)[-1]
            self._running += 1
        before = taken.member.step
        try:
            self._chunk(taken)
        except BaseException as error:  # raised in `wait`
            self._done(taken, before, error)
        else:
            self._done(taken, before)

    def _chunk(self, taken: Course) -> None:
        with fitting(taken.member):
            if not taken.ended:
                self.advance(taken.member, taken.ahead())
                taken.arrive()
            if taken.ended:
                taken.finish()

    def _done(self, taken: Course, before: int, error: BaseException | None = None) -> None:
        with self._news:
            self._running -= 1
            if taken.member.step > before:
                self._rows.append((taken.member.step - before) * taken.member.batches.batch)
            if error is not None:
                self._errors.append(error)
                self._pending -= 1
            elif taken.ended:
                self._ended.append(taken)
            else:
                self._line_up(taken)
            self._news.notify_all()
