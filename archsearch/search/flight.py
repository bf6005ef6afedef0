"""An ask in training: its members go from rung to rung together."""

from __future__ import annotations

from dataclasses import dataclass, field

from archsearch.search.records import Point
from archsearch.search.tables import TrialRow
from archsearch.training.member import Member


@dataclass(frozen=True)
class Found:
    """What was measured of a member where it stands, and of its points where that is the end of its run."""

    measurements: dict[str, float]
    points: tuple[Point, ...] = ()


@dataclass
class Flight:
    """The trials of one ask on their way.

    `members`: those in training, by trial; `copies`: trials whose run an earlier trial has; `goals`: shares of the run at which all of them
    wait for each other, the end being the last; `arrived`: who is at the present goal, with what was found there (None: that is known
    already, or the member failed).
    """

    ask: int
    rows: list[TrialRow]
    goals: tuple[float, ...]
    members: dict[int, Member] = field(default_factory=dict)
    copies: list[TrialRow] = field(default_factory=list)
    at: int = 0
    arrived: dict[int, Found | None] = field(default_factory=dict)

    @property
    def goal(self) -> float:
        """The share of the run its members are on their way to."""
        return self.goals[self.at]

    @property
    def together(self) -> bool:
        """Whether all of them are there."""
        return set(self.arrived) == set(self.members)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to train."""
        return not self.members or (self.together and self.at == len(self.goals) - 1)
