"""Draws of a space that turned out to be no legal SAE, and the branches of which nothing else ever came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ILLEGAL = "illegal"
"""Kind of the events that tell of such draws."""


def picks(params: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a draw picked among branches and words, by hole."""
    return {name: value for name, value in params.items() if isinstance(value, str)}


def refused_branches(events: Iterable[Mapping[str, Any]], drawn: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns a sentence for each branch of which every draw was refused.

    Args:
        events: what was told of refused draws, in order.
        drawn: parameters of the trials there are.
    """
    legal = {pick for params in drawn for pick in picks(params).items()}
    last: dict[tuple[str, str], str] = {}
    count: dict[tuple[str, str], int] = {}
    for event in events:
        for pick in event.get("picks", {}).items():
            if pick not in legal:
                last[pick], count[pick] = event["problem"], count.get(pick, 0) + 1
    inner = {pick for pick in last if any(pick[0].startswith(f"{name}@{value}.") for name, value in last)}
    return tuple(
        f"branch {name}@{value}: every draw was refused ({count[name, value]} in all), the last because {'; '.join(problem.splitlines())}"
        for (name, value), problem in last.items()
        if (name, value) not in inner
    )
