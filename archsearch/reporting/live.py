"""A running study for whoever watches: a live display on a terminal, plain lines now and then anywhere else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from archsearch.reporting.front import short_words
from archsearch.search.records import Status, TrialRecord

Observe = Callable[[Status], None]

LINE_SECONDS = 5.0
"""Least time between two plain lines."""

_ROWS = 8  # front members shown at most
_FIXED = 5  # lines of the display besides those: two of progress, one blank, the table's head, and one to spare


@contextmanager
def watch(console: Console, clock: Callable[[], float] = time.monotonic) -> Iterator[Observe]:
    """Gives a function to tell a study's status to, and shows it on `console` until left."""
    if not console.is_terminal:
        yield _Lines(console, clock)
        return
    with Live(console=console, refresh_per_second=4, transient=True, redirect_stdout=False) as live:
        yield lambda status: live.update(display(status, console.width, console.height))


class _Lines:
    """Prints a line when something changed, at most every few seconds."""

    def __init__(self, console: Console, clock: Callable[[], float]):
        self.console, self.clock = console, clock
        self.last = -math.inf
        self.doing = ""

    def __call__(self, status: Status) -> None:
        now = self.clock()
        finished = status.doing != self.doing and status.done >= status.planned > 0
        if now - self.last < LINE_SECONDS and not finished:
            return
        self.last, self.doing = now, status.doing
        self.console.print(Text(line(status)), soft_wrap=True)


def line(status: Status) -> str:
    """Returns a status as one plain line."""
    parts = [status.doing, *([_done(status)] if status.planned else [])]
    if status.step_frac:
        parts.append(f"step {status.step_frac:.0%}")
    if status.tokens_per_second:
        parts.append(f"{rate(status.tokens_per_second)} tokens/s")
    if status.left_seconds is not None:
        parts.append(f"{duration(status.left_seconds)} left")
    if status.front:
        parts.append(f"front: {counted(len(status.front), 'member')}")
    return ", ".join(parts)


def display(status: Status, width: int, height: int) -> RenderableType:
    """Returns a status as a block that fits a terminal of `width` columns and `height` lines."""
    room = min(_ROWS, height - _FIXED)
    facts = [_done(status)] if status.planned else []
    if status.tokens_per_second:
        facts.append(f"{rate(status.tokens_per_second)} tokens/s")
    if status.left_seconds is not None:
        facts.append(f"{duration(status.left_seconds)} left")
    head = Text(no_wrap=True, overflow="ellipsis").append(status.doing, style="bold").append("  " + "  ".join(facts))
    bar = _bar(status, max(10, min(width - 2, 78)))
    shown: list[RenderableType] = [head, bar]
    if status.front and room > 0:
        shown += [Text(""), _front(_spread(status.front, room), len(status.front))]
    return Group(*shown)


def _bar(status: Status, width: int) -> Text:
    """Returns a bar: of the current step while it says how far it is, else of the trials."""
    share = status.step_frac or (status.done / status.planned if status.planned else 0.0)
    room = width - 5
    full = round(min(1.0, share) * room)
    text = Text(no_wrap=True, overflow="crop")
    return text.append("█" * full, style="green").append("░" * (room - full), style="dim").append(f" {share:4.0%}")


def _spread(front: tuple[TrialRecord, ...], room: int) -> list[TrialRecord]:
    """Returns at most `room` members, spread evenly over the front with both of its ends."""
    if len(front) <= room:
        return list(front)
    if room == 1:
        return [front[0]]
    return [front[round(index * (len(front) - 1) / (room - 1))] for index in range(room)]


def _front(members: list[TrialRecord], total: int) -> Text:
    """Returns the front as lines; not a table of rich's, which on a narrow terminal would cut the numbers as well as the words."""
    title = "the front so far" if len(members) == total else f"the front so far ({len(members)} of {total})"
    lines = [f"{'L0':>6}  {'FVU':>6}  {title}"]
    words = short_words(members)
    for trial in members:
        cut = "" if trial.cut_to is None else f", cut to L0 {trial.cut_to:g}"
        lines.append(f"{trial.measurements['l0']:6.1f}  {trial.measurements['fvu']:6.4f}  {words[trial.number]}{cut}")
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _done(status: Status) -> str:
    return f"{status.done}/{counted(status.planned, 'trial')}"


def counted(count: int, noun: str) -> str:
    """Returns a number of things in words: 1 trial, 2 trials."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def rate(per_second: float) -> str:
    """Returns a rate in a few characters: 950, 12k, 3.4M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if per_second >= size:
            value = per_second / size
            return f"{value:.1f}{unit}" if value < 10 else f"{value:.0f}{unit}"
    return f"{per_second:.0f}"


def duration(seconds: float) -> str:
    """Returns a time in a few characters: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
