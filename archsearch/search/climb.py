"""Climbs the ladder in a study: notes what members are measured at every rung, and says who is stopped there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from archsearch.search.ladder import Vector, goes_on, order
from archsearch.search.ledger import AUDITED, Ledger
from archsearch.search.sampler import Sampling
from archsearch.spec.ladder import LadderSpec
from archsearch.spec.seeds import seed_of
from archsearch.training.member import Member


class Climb:
    """What is known at each rung, and the decisions taken there.

    A member is judged against those that had as many tokens there: of its own ask, and of asks that had ended when its own began. So it
    does not matter how far others in training are. Measurements are written down before any of an ask is judged, so that after a crash
    the same decisions are taken again.
    """

    def __init__(self, ledger: Ledger, sampling: Sampling, spec: LadderSpec | None):
        self.ledger, self.sampling, self.spec = ledger, sampling, spec
        self.rungs: list[float] = list(spec.rungs) if spec else []
        self.seen: dict[tuple[float, int], dict[int, Vector]] = {}
        self.ask_of: dict[int, int] = {}
        self.audited: set[int] = set()
        if spec is not None:
            self._recall()

    def _recall(self) -> None:
        told = self.ledger.climbed()
        self.audited = set(told.audited)
        known = {row.number: (row.ask, row.spec["training"]["tokens"]) for row in self.ledger.rows()}
        for number, rungs in told.rungs.items():
            ask, tokens = known[number]
            for frac, found in rungs.items():
                self._note(number, ask, (frac, tokens), found)

    def passes(self, number: int, frac: float, member: Member) -> bool:
        """Tells whether a member need not be measured at a rung: its ramps have not come to their end, or it was measured there."""
        return not self._settled(member, frac) or number in self.seen.get(self._key(frac, member), {})

    def stopped(
        self,
        frac: float,
        ask: int,
        before: int,
        members: Mapping[int, Member],
        exempt: set[int],
        found: Mapping[int, Mapping[str, float] | None],
    ) -> dict[int, str]:
        """Writes down what members of an ask were measured at a rung; returns why those who fall behind there are stopped, by number.

        Args:
            frac: the rung.
            ask: theirs.
            before: the last ask that they are judged against besides their own.
            members: those that got there, by trial.
            exempt: trials that are measured, and stop others, but go on whatever comes of it (baselines).
            found: what each was measured now, unless it `passes`.
        """
        there = {number: member for number, member in members.items() if member.failure is None and self._settled(member, frac)}
        for number, member in there.items():
            now = found.get(number)
            if now is not None:
                self.ledger.measure(number, dict(now), frac)
                self._note(number, ask, self._key(frac, member), now)
        judged = {
            number: self._behind(number, self._key(frac, member), ask, before) for number, member in there.items() if number not in exempt
        }
        return {number: reason for number, reason in judged.items() if reason and not self._audit(number, frac)}

    @staticmethod
    def _key(frac: float, member: Member) -> tuple[float, int]:
        return frac, member.assembly.spec.training.tokens

    @staticmethod
    def _settled(member: Member, frac: float) -> bool:
        """Tells whether ramps over the run have come to their end: before that, numbers say little about how it ends."""
        return frac >= member.assembly.receipt.settled_frac

    def _note(self, number: int, ask: int, key: tuple[float, int], found: Mapping[str, Any]) -> None:
        if all(math.isfinite(found.get(name, math.nan)) for name in ("l0", *self.sampling.objectives)):
            first, second = self.sampling.values(dict(found))
            self.seen.setdefault(key, {})[number] = (first, second)
            self.ask_of[number] = ask

    def _behind(self, number: int, key: tuple[float, int], ask: int, before: int) -> str:
        """Returns why a trial is stopped at a rung, in words; nothing if it goes on."""
        known = self.seen.get(key, {})
        if number not in known or self.spec is None:
            return ""
        numbers = sorted(other for other in known if self.ask_of[other] == ask or self.ask_of[other] <= before)
        vectors, index = [known[other] for other in numbers], numbers.index(number)
        if goes_on(vectors, index, self.spec.eta):
            return ""
        return f"stopped after {100 * key[0]:g}% of its run, where it stood at place {order(vectors)[index] + 1} of {len(vectors)}"

    def _audit(self, number: int, frac: float) -> bool:
        """Tells whether a trial that is behind is one of those finished all the same; once picked it is never stopped."""
        if self.spec is None or number in self.audited:
            return number in self.audited
        picked = seed_of("audit", self.sampling.seed, number) % 10**6 < self.spec.audit * 10**6
        if picked:
            self.audited.add(number)
            self.ledger.note(AUDITED, {"trial": number, "frac": frac})
        return picked
