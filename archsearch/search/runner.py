"""Runs asks: trains their trials side by side, measures, writes to the ledger, tells the sampler; in that order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from archsearch.assembler.parse import parse
from archsearch.errors import DataError, InvalidInput
from archsearch.search.climb import Climb
from archsearch.search.cutting import Cutting
from archsearch.search.flight import Flight, Found
from archsearch.search.ledger import Ledger
from archsearch.search.measuring import Measuring
from archsearch.search.records import Place, Status, TrialRecord, whole_front
from archsearch.search.sampler import Sampling
from archsearch.search.splicing import Splicing
from archsearch.search.tables import TrialRow
from archsearch.search.weights import Weights, best
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.crew import Crew
from archsearch.training.loop import Executor
from archsearch.training.member import Member, start

Observer = Callable[[Status], None]

ENDED = ("complete", "stopped")
"""States of a trial whose run need not be trained again."""


@dataclass
class Runner:
    """The moving parts of one session of a study.

    Several asks train at once, as many as `window`. What happens to one of them depends on asks at least `window` before it alone, which
    are at their end when it begins: not on how far its neighbours are. So a study ends the same however its asks overlap in time.

    `stop` tells whether the user asked to stop; `observe` is told where the study stands a few times a second.
    """

    ledger: Ledger
    sampling: Sampling
    activations: Any
    executor: Executor
    folder: Path
    device: str
    precision: str
    band: tuple[float, float]
    objectives: tuple[str, ...]
    climb: Climb
    window: int
    planned: int
    stop: Callable[[], bool]
    observe: Observer
    cutting: Cutting | None = None
    begun: float = field(default_factory=time.perf_counter)
    rows_trained: int = 0
    rows_left: int = 0
    last_told: float = 0.0
    seen: dict[int, TrialRecord] = field(default_factory=dict)
    front: tuple[TrialRecord, ...] = ()
    finished: int = 0
    flights: dict[int, Flight] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads what is there already; from here on `seen` is kept up, never read again whole."""
        self.measuring = Measuring(self.activations, self.objectives, self.cutting)
        self.weights = Weights(self.folder / "saes")
        self.crew: Crew = self.executor.crew(self._tick, self.stop)
        self._see(None)

    def close(self) -> None:
        """Ends what trains in the background."""
        self.crew.close()

    def begin(self, ask: int, rows: list[TrialRow]) -> None:
        """Puts the trials of an ask that are not at their end into training."""
        self._see([row.number for row in rows])
        flight = self.flights[ask] = Flight(ask, rows, (*self.climb.rungs, 1.0))
        for row in (row for row in rows if row.state == "running"):
            if self._twin(row) is not None:
                flight.copies.append(row)
            else:
                self._start(row, flight.members)
        self._send(flight)

    def end(self, ask: int) -> bool:
        """Brings an ask to its end, while others train on, and tells of it; returns False if the user stopped it (and saves what runs)."""
        flight = self.flights[ask]
        while not flight.ended:
            there = self.crew.wait()
            for member, found in there:
                self._arrive(member, found)
            if not there and not flight.ended:
                self._save_all()
                return False
        for number, member in flight.members.items():
            self._finish(number, member, flight.arrived[number])
        for row in flight.copies:
            self._copy(row)
        self.tell([row.number for row in flight.rows])
        del self.flights[ask]
        return True

    def _send(self, flight: Flight) -> None:
        """Sends the members of a flight on to their next goal."""
        flight.arrived = {}
        for number, member in flight.members.items():
            self.crew.add(member, flight.goal, partial(self._measure, number, flight.goal), (flight.ask, number))

    def _measure(self, number: int, frac: float, member: Member) -> Found | None:
        if frac == 1:
            return self.measuring.whole(member)
        return None if self.climb.passes(number, frac, member) else Found(self.measuring.member(member))

    def _arrive(self, member: Member, found: Found | None) -> None:
        flight, number = next((f, n) for f in self.flights.values() for n, other in f.members.items() if other is member)
        flight.arrived[number] = found
        while flight.together and not flight.ended:
            self._climb(flight)

    def _climb(self, flight: Flight) -> None:
        """Judges the members of a flight, all of them at a rung; who goes on is sent on."""
        exempt = {row.number for row in flight.rows if row.baseline is not None}
        found = {number: found.measurements for number, found in flight.arrived.items() if found is not None}
        stopped = self.climb.stopped(flight.goal, flight.ask, flight.ask - self.window, flight.members, exempt, found)
        for number, reason in stopped.items():
            member = flight.members.pop(number)
            self.ledger.finish(number, "stopped", {}, reason, member.history)
            self.rows_left -= (member.total_steps - member.step) * member.batches.batch
            self._checkpoint(number).unlink(missing_ok=True)
        self._save(flight)
        flight.at += 1
        self._send(flight)

    def _see(self, numbers: list[int] | None) -> None:
        """Takes what the ledger knows of some trials, or of all, into `seen`, and the front with it."""
        before = {number: self.seen.get(number) for number in numbers or ()}
        self.seen |= {trial.number: trial for trial in self.ledger.trials(numbers)}
        if numbers is None or any(self.seen[number] != before[number] for number in numbers):
            finished = [trial for trial in self.seen.values() if trial.state != "running"]
            self.finished = len(finished)
            self.front = tuple(whole_front(finished, self.band))

    def known(self, ask: int) -> list[TrialRecord]:
        """Returns the trials of earlier asks, in order; of those that may be in flight when an ask begins no more than that they run."""
        earlier = [trial for _, trial in sorted(self.seen.items()) if trial.ask < ask]
        return [t if t.ask <= ask - self.window else replace(t, state="running", measurements={}, points=()) for t in earlier]

    def _twin(self, row: TrialRow) -> Place | None:
        """Returns the earlier trial a trial is the same run as, if there is one that had not failed when this one began."""
        earlier = [place for place in self.ledger.places(run=row.run) if place.number < row.number and place.copied_from is None]
        return next((place for place in earlier if place.state in ENDED or place.ask > row.ask - self.window), None)

    def _start(self, row: TrialRow, members: dict[int, Member]) -> None:
        path = self._checkpoint(row.number)
        try:
            member = start(
                parse(row.spec),
                self.activations.split("train"),
                self.activations.split("calibrate"),
                device=self.device,
                precision=self.precision,
                windows=self.activations.windows,
            )
            if path.exists() and not load_member(member, path, row.run):
                path.unlink()  # left by another run: this one starts afresh
        except (InvalidInput, DataError) as error:
            self.ledger.finish(row.number, "failed", {}, str(error))
            return
        members[row.number] = member

    def _checkpoint(self, number: int) -> Path:
        return self.folder / "checkpoints" / f"{number}.safetensors"

    def _save_all(self) -> None:
        for flight in self.flights.values():
            self._save(flight)

    def _save(self, flight: Flight) -> None:
        runs = {row.number: row.run for row in flight.rows}
        for number, member in flight.members.items():
            if member.step:
                save_member(member, self._checkpoint(number), runs[number])

    def _finish(self, number: int, member: Member, found: Found | None) -> None:
        if member.failure is not None or found is None:
            self.ledger.finish(number, "failed", {}, member.failure or "", member.history)
        else:
            told = found.measurements
            missing = [name for name in self.objectives if not math.isfinite(told.get(name, math.nan))]
            if missing:
                self.ledger.finish(number, "failed", told, f"objectives could not be measured: {', '.join(missing)}", member.history)
            else:
                self.weights.keep(number, member.sae)
                self.ledger.finish(number, "complete", told, member.remark, member.history, points=found.points)
        self._checkpoint(number).unlink(missing_ok=True)

    def splice_best(self) -> None:
        """Measures what the language model loses to the SAEs of the front and of each baseline's front, from their kept weights."""
        waiting = [one for one in self._best() if "ce_recovered" not in one.measurements]
        splicing = Splicing(self.ledger, self.weights, self.measuring, self.activations, self.device)
        for done, left in splicing.each(waiting, self.seen):
            if self.stop():
                break
            self.notice("splicing the best into the model", force=True, step_frac=done, left=left)
        self._see([one.number for one in waiting])

    def _copy(self, row: TrialRow) -> None:
        """Gives a trial the known values of the one with the same run hash."""
        place = self._twin(row)
        twin = next(iter(self.ledger.trials([place.number] if place else [])), None)
        if twin is None or twin.state != "complete":
            stopped = twin is not None and twin.state == "stopped"
            said = f"the same run as trial {twin.number if twin else '?'}, which {'was stopped' if stopped else 'failed'}"
            copied = twin.number if twin and stopped else None
            self.ledger.finish(row.number, "stopped" if stopped else "failed", {}, said, copied_from=copied)
            return
        known = (dict(twin.measurements), twin.message, list(twin.history), twin.number, twin.points)
        self.ledger.finish(row.number, "complete", *known)

    def tell(self, numbers: list[int]) -> None:
        """Tells the sampler of finished trials, in order of number, and drops the weights of what left the front."""
        self._see(numbers)
        for place in self.ledger.places(numbers):
            if place.told:
                continue
            trial = self.seen[place.number]
            found = trial.measurements if trial.state == "complete" else None
            attributes = {"archsearch:run": trial.run, "archsearch:words": trial.words, "archsearch:baseline": trial.baseline or ""}
            if place.optuna_number is not None:
                self.sampling.tell(place.optuna_number, found, attributes)
            elif found is not None:
                self.sampling.add(place.number, found, attributes)
            self.ledger.told([place.number])
        self.weights.prune({one.number for one in self._best()})
        self.notice("measured", force=True)

    def _best(self) -> list[TrialRecord]:
        return best(list(self.seen.values()), self.band, self.objectives)

    def _tick(self, rows: int) -> None:
        self.rows_trained += rows
        self.rows_left = max(self.rows_left - rows, 0)
        count = self.crew.pending
        self.notice(f"training {count} SAE{'s' if count != 1 else ''}")

    def notice(self, doing: str, force: bool = False, step_frac: float = 0.0, left: float | None = None) -> None:
        """Tells the observer where the study stands, at most four times a second; without `left` seconds, what training will take."""
        now = time.perf_counter()
        if not force and now - self.last_told < 0.25:
            return
        self.last_told = now
        speed = self.rows_trained / max(now - self.begun, 1e-9)
        if left is None and self.rows_left:
            left = self.rows_left / speed if self.rows_trained else None
        self.observe(Status(doing, self.finished, self.planned, step_frac, speed, left, self.front))
