"""Runs asks: trains their trials as a cohort, measures, writes to the ledger, tells the sampler; in that order."""

from __future__ import annotations

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
from archsearch.search.ledger import Ledger
from archsearch.search.records import Status, TrialRecord, feasible, front
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
    planned: int
    stop: Callable[[], bool]
    observe: Observer
    begun: float = field(default_factory=time.perf_counter)
    rows_trained: int = 0
    training_seconds: float = 0.0
    rows_left: int = 0
    last_told: float = 0.0
    seen: list[TrialRecord] = field(default_factory=list)

    def run(self, rows: list[TrialRow]) -> bool:
        """Brings the trials of one or more asks to their end; returns False if the user stopped it (and then saves what runs)."""
        waiting = [row for row in rows if row.state == "running"]
        self.seen = self.ledger.trials()
        known = {t.run for t in self.seen if t.state == "complete" and t.copied_from is None}
        copies: list[tuple[TrialRow, str]] = []
        members: dict[int, Member] = {}
        for row in waiting:
            if row.run in known or any(row.run == other.run for other in waiting if other.number < row.number):
                copies.append((row, row.run))
            else:
                self._start(row, members)
        begun = time.perf_counter()
        train(list(members.values()), self.executor, tick=lambda count: self._tick(count, len(members)), stop=self.stop)
        self.training_seconds += time.perf_counter() - begun
        if self.stop() and not all(member.done for member in members.values()):
            self._save(members)
            return False
        for number, member in members.items():
            self._finish(number, member)
        for row, run in copies:
            self._copy(row, run)
        self.tell([row.number for row in rows])
        return True

    def _start(self, row: TrialRow, members: dict[int, Member]) -> None:
        path = self._checkpoint(row.number)
        try:
            member = start(
                parse(row.spec),
                self.activations.split("train"),
                self.activations.split("calibrate"),
                device=self.device,
                precision=self.precision,
            )
            if path.exists():
                load_member(member, path)
        except (InvalidInput, DataError) as error:
            self.ledger.finish(row.number, "failed", {}, str(error))
            return
        members[row.number] = member

    def _checkpoint(self, number: int) -> Path:
        return self.folder / "checkpoints" / f"{number}.safetensors"

    def _save(self, members: dict[int, Member]) -> None:
        for number, member in members.items():
            if member.step:
                save_member(member, self._checkpoint(number))

    def _finish(self, number: int, member: Member) -> None:
        if member.failure is not None:
            self.ledger.finish(number, "failed", {}, member.failure, member.history)
        else:
            found = self._measure(member)
            self._keep(number, member)
            self.ledger.finish(number, "complete", found, "", member.history)
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
        kept = {trial.number: trial for trial in self.ledger.trials()}
        waiting = [n for n in sorted(self._best(list(kept.values()))) if "ce_recovered" not in kept[n].measurements]
        for index, number in enumerate(waiting):
            path = self._weights(number)
            if self.stop() or not path.exists():
                continue
            self.notice("splicing the best into the model", force=True, step_frac=index / len(waiting))
            sae = load_sae(kept[number].spec, path, self.activations.d_model, device=self.device)
            self.ledger.measure(number, self._spliced(sae))

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
        twin = next((t for t in self.ledger.trials() if t.run == run and t.number != row.number and t.state != "running"), None)
        if twin is None or twin.state == "failed":
            self.ledger.finish(row.number, "failed", {}, f"the same run as trial {twin.number if twin else '?'}, which failed")
            return
        self.ledger.finish(row.number, "complete", dict(twin.measurements), "", list(twin.history), copied_from=twin.number)

    def tell(self, numbers: list[int]) -> None:
        """Tells the sampler of finished trials, in order of number, and drops the weights of what left the front."""
        trials = {trial.number: trial for trial in self.ledger.trials()}
        rows = {row.number: row for row in self.ledger.rows()}
        for number in sorted(numbers):
            if rows[number].told:
                continue
            trial = trials[number]
            found = trial.measurements if trial.state == "complete" else None
            attributes = {
                "archsearch:run": trial.run,
                "archsearch:words": trial.words,
                "archsearch:baseline": trial.baseline or "",
            }
            optuna_number = rows[number].optuna_number
            if optuna_number is not None:
                self.sampling.tell(optuna_number, found, attributes)
            elif found is not None:
                self.sampling.add(found, attributes)
            self.ledger.told([number])
        self.seen = list(trials.values())
        self._prune(self.seen)
        self.notice("measured", force=True)

    def _prune(self, trials: list[TrialRecord]) -> None:
        """Keeps weights only of the front and of each baseline's best; the rest can be trained again from their specs."""
        kept = self._best(trials)
        for path in (self.folder / "saes").glob("*.safetensors"):
            if path.stem.isdigit() and int(path.stem) not in kept:
                path.unlink()

    def _best(self, trials: list[TrialRecord]) -> set[int]:
        kept = {trial.number for trial in front(trials, self.band)}
        for name in {trial.baseline for trial in trials if trial.baseline}:
            kept |= {trial.number for trial in front([t for t in trials if t.baseline == name], self.band)}
        return kept

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
        finished = [trial for trial in self.seen if trial.state != "running"]
        speed = self.rows_trained / max(now - self.begun, 1e-9)
        left = self.rows_left / speed if self.rows_trained else None
        best = tuple(front([t for t in finished if feasible(t, self.band)], self.band))
        self.observe(Status(doing, len(finished), self.planned, step_frac, speed, left, best))
