"""Runs asks: trains their trials as a cohort, measures, writes to the ledger, tells the sampler; in that order."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from archsearch.assembler.build import load_sae
from archsearch.assembler.parse import parse
from archsearch.assembler.sae import SAE
from archsearch.errors import DataError, InvalidInput
from archsearch.evaluation.metrics import evaluate
from archsearch.search.climb import Climb
from archsearch.search.ledger import Ledger
from archsearch.search.records import Status, TrialRecord, front
from archsearch.search.sampler import Sampling
from archsearch.search.tables import TrialRow
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.loop import Executor, train
from archsearch.training.member import Member, start

Observer = Callable[[Status], None]


@dataclass
class Runner:
    """The moving parts of one session of a study.

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
    planned: int
    stop: Callable[[], bool]
    observe: Observer
    begun: float = field(default_factory=time.perf_counter)
    rows_trained: int = 0
    training_seconds: float = 0.0
    rows_left: int = 0
    last_told: float = 0.0
    seen: dict[int, TrialRecord] = field(default_factory=dict)
    best: tuple[TrialRecord, ...] = ()
    finished: int = 0

    def __post_init__(self) -> None:
        """Reads what is there already; from here on `seen` is kept up, never read again whole."""
        self._see(None)

    def run(self, rows: list[TrialRow]) -> bool:
        """Brings the trials of one or more asks to their end; returns False if the user stopped it (and then saves what runs)."""
        waiting = [row for row in rows if row.state == "running"]
        self._see([row.number for row in rows])
        known = {t.run for t in self.seen.values() if t.state in ("complete", "stopped") and t.copied_from is None}
        copies: list[tuple[TrialRow, str]] = []
        members: dict[int, Member] = {}
        for row in waiting:
            if row.run in known or any(row.run == other.run for other in waiting if other.number < row.number):
                copies.append((row, row.run))
            else:
                self._start(row, members)
        if not self._train(members):
            self._save(members)
            return False
        for number, member in members.items():
            self._finish(number, member)
        for row, run in copies:
            self._copy(row, run)
        self.tell([row.number for row in rows])
        return True

    def _train(self, members: dict[int, Member]) -> bool:
        """Trains members from rung to rung; who is stopped there is written down and leaves `members`. False if the user stopped it."""
        baselines = {number for number in members if self.seen[number].baseline is not None}
        for frac in (*self.climb.rungs, 1.0):
            begun = time.perf_counter()
            tick = lambda count: self._tick(count, len(members))  # noqa: E731
            train(list(members.values()), self.executor, until_frac=frac, tick=tick, stop=self.stop)
            self.training_seconds += time.perf_counter() - begun
            if self.stop() and not all(member.done for member in members.values()):
                return False
            if frac < 1:
                for number, reason in self.climb.stopped(frac, members, baselines, self._measure).items():
                    member = members.pop(number)
                    self.ledger.finish(number, "stopped", {}, reason, member.history)
                    self.rows_left -= (member.total_steps - member.step) * member.batches.batch
                    self._checkpoint(number).unlink(missing_ok=True)
                self._save(members)
        return True

    def _see(self, numbers: list[int] | None) -> None:
        """Takes what the ledger knows of some trials, or of all, into `seen`, and the front with it."""
        before = {number: self.seen.get(number) for number in numbers or ()}
        self.seen |= {trial.number: trial for trial in self.ledger.trials(numbers)}
        if numbers is None or any(self.seen[number] != before[number] for number in numbers):
            finished = [trial for trial in self.seen.values() if trial.state != "running"]
            self.finished = len(finished)
            self.best = tuple(front(finished, self.band))

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

    def _save(self, members: dict[int, Member]) -> None:
        runs = {place.number: place.run for place in self.ledger.places(list(members))}
        for number, member in members.items():
            if member.step:
                save_member(member, self._checkpoint(number), runs[number])

    def _finish(self, number: int, member: Member) -> None:
        if member.failure is not None:
            self.ledger.finish(number, "failed", {}, member.failure, member.history)
        else:
            found = self._measure(member)
            missing = [name for name in self.objectives if not math.isfinite(found.get(name, math.nan))]
            if missing:
                self.ledger.finish(number, "failed", found, f"objectives could not be measured: {', '.join(missing)}", member.history)
            else:
                self._keep(number, member)
                self.ledger.finish(number, "complete", found, member.remark, member.history)
        self._checkpoint(number).unlink(missing_ok=True)

    def _measure(self, member: Member) -> dict[str, float]:
        receipt = member.assembly.receipt
        found = evaluate(member.sae, self.activations.split("validate")).as_dict()
        found |= {"parameters": receipt.parameters, "flops": receipt.flops, "seconds": round(member.seconds, 3)}
        if "ce_recovered" in self.objectives:
            found |= self._spliced(member.sae)
        return found

    def _spliced(self, sae: SAE) -> dict[str, float]:
        splicer = self.activations.splicer("validate")
        if splicer is None:
            return {}
        spliced = splicer.cross_entropy(sae.reconstruct)
        return {"ce_recovered": spliced.recovered, "ce": spliced.spliced, "ce_clean": spliced.clean}

    def splice_best(self) -> None:
        """Measures what the language model loses to the SAEs of the front and of each baseline's front, from their kept weights."""
        kept = self.seen
        waiting = [number for number in sorted(self._best()) if "ce_recovered" not in kept[number].measurements]
        for index, number in enumerate(waiting):
            path = self._weights(number)
            if self.stop() or not path.exists():
                continue
            self.notice("splicing the best into the model", force=True, step_frac=index / len(waiting))
            sae = load_sae(kept[number].spec, path, self.activations.d_model, device=self.device)
            self.ledger.measure(number, self._spliced(sae))
        self._see(waiting)

    def _weights(self, number: int) -> Path:
        return self.folder / "saes" / f"{number}.safetensors"

    def _keep(self, number: int, member: Member) -> None:
        path = self._weights(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file({name: value.detach().cpu().contiguous() for name, value in member.sae.state_dict().items()}, partial)
        partial.replace(path)

    def _copy(self, row: TrialRow, run: str) -> None:
        """Gives a trial the known values of the one with the same run hash."""
        twins = [p for p in self.ledger.places() if p.run == run and p.number != row.number and p.state != "running"]
        twins.sort(key=lambda place: place.state != "complete")
        twin = next(iter(self.ledger.trials([place.number for place in twins[:1]])), None)
        if twin is None or twin.state != "complete":
            stopped = twin is not None and twin.state == "stopped"
            said = f"the same run as trial {twin.number if twin else '?'}, which {'was stopped' if stopped else 'failed'}"
            self.ledger.finish(
                row.number, "stopped" if stopped else "failed", {}, said, copied_from=twin.number if twin and stopped else None
            )
            return
        self.ledger.finish(row.number, "complete", dict(twin.measurements), twin.message, list(twin.history), copied_from=twin.number)

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
        self._prune()
        self.notice("measured", force=True)

    def _prune(self) -> None:
        """Keeps weights only of the front and of each baseline's best; the rest can be trained again from their specs."""
        kept = self._best()
        for path in (self.folder / "saes").glob("*.safetensors"):
            if path.stem.isdigit() and int(path.stem) not in kept:
                path.unlink()

    def _best(self) -> set[int]:
        """Returns who stands on the front, or on a baseline's own: of L0 and FVU, which reports show, or of the objectives asked for."""
        trials = list(self.seen.values())
        groups = [trials, *([t for t in trials if t.baseline == name] for name in {t.baseline for t in trials if t.baseline})]
        kinds = {("l0", "fvu"), self.objectives}
        return {trial.number for group in groups for kind in kinds for trial in front(group, self.band, kind)}

    def _tick(self, rows: int, members: int) -> None:
        self.rows_trained += rows
        self.rows_left = max(self.rows_left - rows, 0)
        self.notice(f"training {members} SAE{'s' if members != 1 else ''}")

    def notice(self, doing: str, force: bool = False, step_frac: float = 0.0) -> None:
        """Tells the observer where the study stands, at most four times a second."""
        now = time.perf_counter()
        if not force and now - self.last_told < 0.25:
            return
        self.last_told = now
        speed = self.rows_trained / max(now - self.begun, 1e-9)
        left = self.rows_left / speed if self.rows_trained else None
        self.observe(Status(doing, self.finished, self.planned, step_frac, speed, left, self.best))
