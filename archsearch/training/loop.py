"""Trains members until the same share of each one's run."""

from __future__ import annotations

from collections.abc import Callable

from archsearch.training.looped import Looped
from archsearch.training.member import Member
from archsearch.training.stacked import Stacked

Executor = Looped | Stacked


def train(
    members: list[Member],
    executor: Executor,
    until_frac: float = 1.0,
    tick: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Trains members in place until `until_frac` of each one's run; a member that diverges stops with a sentence in `failure`.

    None's numbers depend on another's. `tick` is told rows as they are trained; training ends early, between two chunks of steps, once
    `stop` says so.
    """
    with executor.crew(tick, stop) as crew:
        for member in members:
            crew.add(member, until_frac)
        while crew.wait():
            pass
