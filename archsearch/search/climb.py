"""Climbs the ladder in a study: measures members at every rung, and says who is stopped there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from archsearch.search.ladder import Vector, goes_on, order
from archsearch.search.ledger import AUDITED, Ledger
from archsearch.search.sampler import Sampling
from archsearch.spec.ladder import LadderSpec
from archsearch.spec.seeds import seed_of
from archsearch.training.member import Member


class Climb:
    """What is known at each rung, and the decisions taken there.

    A member is judged against those that had as many tokens there. Members are measured and written down before any of a cohort is judged,
    so that after a crash the same decisions are taken again.
    """

    def __init__(self, ledger: Ledger, sampling: Sampling, spec: LadderSpec | None):
        self.ledger, self.sampling, self.spec = ledger, sampling, spec
        self.rungs: list[float] = list(spec.rungs) if spec else []
        self.seen: dict[tuple[float, int], dict[int, Vector]] = {}
        self.audited: set[int] = set()
        if spec is not None:
            self._recall()

    def _recall(self) -> None:
        told = self.ledger.climbed()
        self.audited = set(told.audited)
        tokens = {row.number: row.spec["training"]["tokens"] for row in self.ledger.rows()}
        for number, rungs in told.rungs.items():
            for frac, found in rungs.items():
                self._note(number, frac, tokens[number], found)

    def stopped(
        self, frac: float, members: Mapping[int, Member], exempt: set[int], measure: Callable[[Member], dict[str, float]]
    ) -> dict[int, str]:
        """Measures members at a rung and returns why those who fall behind there are stopped, by number.

        Args:
            frac: the rung.
            members: those that got there, by trial.
            exempt: trials that are measured, and stop others, but go on whatever comes of it (baselines).
            measure: returns a member's measurements as it stands.
        """
        there = {number: member for number, member in members.items() if member.failure is None and self._settled(member, frac)}
        for number, member in there.items():
            key = (frac, self._tokens(member))
            if number not in self.seen.get(key, {}):
                found = measure(member)
                self.ledger.measure(number, found, frac)
                self._note(number, frac, key[1], found)
        return {
            number: reason
            for number, member in there.items()
            if number not in exempt and (reason := self._behind(number, frac, self._tokens(member))) and not self._audit(number, frac)
        }

    @staticmethod
    def _tokens(member: Member) -> int:
        return member.assembly.spec.training.tokens

    @staticmethod
    def _settled(member: Member, frac: float) -> bool:
        """Tells whether ramps over the run have come to their end: before that, numbers say little about how it ends."""
        return frac >= member.assembly.receipt.settled_frac

    def _note(self, number: int, frac: float, tokens: int, found: Mapping[str, Any]) -> None:
        if all(math.isfinite(found.get(name, math.nan)) for name in ("l0", *self.sampling.objectives)):
            first, second = self.sampling.values(dict(found))
            self.seen.setdefault((frac, tokens), {})[number] = (first, second)

    def _behind(self, number: int, frac: float, tokens: int) -> str:
        """Returns why a trial is stopped at a rung, in words; nothing if it goes on."""
        known = self.seen.get((frac, tokens), {})
        if number not in known or self.spec is None:
            return ""
        numbers = sorted(known)
        vectors, index = [known[other] for other in numbers], numbers.index(number)
        if goes_on(vectors, index, self.spec.eta):
            return ""
        return f"stopped after {100 * frac:g}% of its run, where it stood at place {order(vectors)[index] + 1} of {len(vectors)}"

    def _audit(self, number: int, frac: float) -> bool:
        """Tells whether a trial that is behind is one of those finished all the same; once picked it is never stopped."""
        if self.spec is None or number in self.audited:
            return number in self.audited
        picked = seed_of("audit", self.sampling.seed, number) % 10**6 < self.spec.audit * 10**6
        if picked:
            self.audited.add(number)
            self.ledger.note(AUDITED, {"trial": number, "frac": frac})
        return picked
