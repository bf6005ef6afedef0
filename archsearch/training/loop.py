"""Trains a cohort: chunks of steps, the events between them, and what went wrong with whom."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from archsearch.training.events import happen
from archsearch.training.looped import Looped
from archsearch.training.member import Member
from archsearch.training.stacked import Stacked

Executor = Looped | Stacked

REPORTS = 20
"""Points of a learning curve over a whole run."""


def train(
    members: list[Member],
    executor: Executor,
    until_frac: float = 1.0,
    tick: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Trains members in place until `until_frac` of each one's run; a member that diverges stops with a sentence in `failure`.

    Members wait for each other at every chunk, but none's numbers depend on another's. `tick` is told rows as they are trained; training
    ends early, between two chunks, once `stop` says so.
    """
    while not (stop and stop()):
        waiting = [member for member in members if member.failure is None and member.step < _goal(member, until_frac)]
        if not waiting:
            return
        chunks: dict[int, list[Member]] = {}
        for member in waiting:
            chunks.setdefault(_chunk(member, until_frac), []).append(member)
        for steps, group in sorted(chunks.items()):
            executor.advance(group, steps, tick)
        for member in waiting:
            _check(member, last=member.step >= _goal(member, until_frac))
            if member.failure is None:
                happen(member)


def _goal(member: Member, until_frac: float) -> int:
    return round(member.total_steps * until_frac)


def _chunk(member: Member, until_frac: float) -> int:
    report = math.ceil(member.total_steps / REPORTS)
    next_report = (member.step // report + 1) * report
    return min(next_report, member.next_stop(), _goal(member, until_frac)) - member.step


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
