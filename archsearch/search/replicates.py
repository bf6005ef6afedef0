"""Trains given SAE specs, each as written, and keeps a line for each of what was measured: repeats of known designs, no search.

A line is found again by run hash and split, so that what was stopped goes on where it was, and a changed spec, other data or another
version of the numbers is trained anew.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from archsearch.activations.data import Activations
from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.errors import DataError, Interrupted
from archsearch.evaluation.metrics import evaluate
from archsearch.search.jobs import Setting, run_hash
from archsearch.search.records import Status
from archsearch.search.stopping import graceful
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.loop import Executor, train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start

Row = dict[str, Any]
"""What was measured of one run: `name`, `run` (hash), `split`, and either `failure` (a sentence) or `l0`, `fvu`, `ce_recovered` (None
without a language model), `dead_frac`, `gamma`, `parameters`, `flops`, `seconds`, `steps`, `remark`."""

AT_ONCE = {"looped": 4, "stacked": 16}
"""Members of a cohort by executor: looped ones wait for each other, stacked ones share the device's memory."""

MEASURED = ("l0", "fvu", "dead_frac", "gamma")


@dataclass(frozen=True)
class Run:
    """One spec on its way: its name, what it is found by, and what a cohort must share to be stacked."""

    name: str
    spec: Any
    run: str
    structure: str
    rows: int


@dataclass
class Replicates:
    """Trains and measures specs on one machine.

    `path`: the file of lines; `split`: what is measured on; `observe` is told where the work stands; `also` measures more of a member.
    """

    path: Path
    activations: Activations
    device: str
    executor: Executor
    precision: str
    split: str = "validate"
    observe: Callable[[Status], None] = lambda status: None
    also: Callable[[Member], Row] = lambda member: {}
    begun: float = field(default_factory=time.perf_counter)
    rows_trained: int = 0
    rows_planned: int = 0

    def run(self, documents: Mapping[str, dict[str, Any]]) -> dict[str, Row]:
        """Returns a row for each spec by name, in order; trains those without a line yet, the first named first.

        Raises:
            InvalidInput: a spec is not legal; nothing is trained then.
            Interrupted: the user stopped it; everything finished is saved, and members in training go on from where they are.
        """
        runs = [self.planned(name, document) for name, document in documents.items()]
        done = self.finished()
        waiting = list({run.run: run for run in reversed(runs) if run.run not in done}.values())[::-1]
        self.rows_planned = sum(run.rows for run in waiting)
        with graceful() as stop:
            for cohort in _cohorts(waiting, self.executor):
                rows = {} if stop() else self._trained(cohort, stop)
                self._write(rows)
                done |= rows
        if any(run.run not in done for run in runs):
            raise Interrupted(f"stopped; everything finished is saved in {self.path.parent}, and the same command goes on from here")
        return {run.name: {**done[run.run], "name": run.name} for run in runs}

    def planned(self, name: str, document: dict[str, Any]) -> Run:
        """Returns a spec parsed, assembled without data and hashed.

        Raises:
            InvalidInput: it is not legal.
        """
        spec = parse(document)
        assembly = assemble(spec, model=self.activations.d_model, device="meta")
        setting = Setting(self.activations.d_model, self.activations.fingerprint, self.precision)
        receipt = assembly.receipt
        return Run(name, spec, run_hash(spec, assembly, setting), receipt.structure, receipt.steps * spec.training.batch)

    def finished(self) -> dict[str, Row]:
        """Returns the rows that are in the file already, of this split, by run hash; a line cut short by a crash counts as none."""
        if not self.path.exists():
            return {}
        rows = [row for line in self.path.read_text(encoding="utf-8").splitlines() if (row := _read(line))]
        return {row["run"]: row for row in rows if row.get("split") == self.split}

    def _trained(self, cohort: Sequence[Run], stop: Callable[[], bool]) -> dict[str, Row]:
        """Returns the rows of a cohort by run hash; of one the user stopped those of finished members, the others being saved.

        A cohort for which the device has not enough memory is halved, down to a lone member.
        """
        members = self._members(cohort, stop)
        if members is None:
            half = len(cohort) // 2
            return self._trained(cohort[:half], stop) | self._trained(cohort[half:], stop)
        rows: dict[str, Row] = {}
        for run, member in zip(cohort, members, strict=True):
            if member.done:
                self._tell(0, f"measuring {run.name}")
                rows[run.run] = {"name": run.name, "run": run.run, "split": self.split, **self._measured(member)}
            elif member.step:
                save_member(member, self._checkpoint(run.run), run.run)
        return rows

    def _members(self, cohort: Sequence[Run], stop: Callable[[], bool]) -> list[Member] | None:
        """Returns the members of a cohort, trained; None if there was not enough memory for more than one."""
        before, doing = self.rows_trained, f"training {len(cohort)} SAE{'s' if len(cohort) > 1 else ''}"
        self._tell(0, doing)
        try:
            members = [self._started(run) for run in cohort]
            train(members, self.executor, tick=lambda rows: self._tell(rows, doing), stop=stop)
            return members
        except torch.OutOfMemoryError:
            if len(cohort) == 1:
                raise
        self.rows_trained = before
        torch.cuda.empty_cache()
        return None

    def _started(self, run: Run) -> Member:
        rows = {split: self.activations.split(split) for split in ("train", "calibrate")}
        numbers = {"device": self.device, "precision": self.precision}
        member = start(run.spec, rows["train"], rows["calibrate"], **numbers, windows=self.activations.windows)
        path = self._checkpoint(run.run)
        if path.exists() and load_member(member, path, run.run):
            self.rows_planned -= member.step * member.batches.batch
        return member

    def _measured(self, member: Member) -> Row:
        """Returns what is measured of a member at inference, or why it cannot be."""
        if member.failure is not None:
            return {"failure": member.failure}
        receipt = member.assembly.receipt
        try:
            found = evaluate(member.sae, self.activations.split(self.split)).as_dict()
            row: Row = {name: found[name] for name in MEASURED} | {"ce_recovered": self._recovered(member)}
        except DataError as error:  # a reconstruction that is not finite
            return {"failure": f"it could not be measured: {error}"}
        if not all(math.isfinite(found[name]) for name in ("l0", "fvu")):
            return {"failure": f"it could not be measured: L0 {found['l0']}, FVU {found['fvu']}"}
        row["gamma"] = row["gamma"] if math.isfinite(row["gamma"]) else None
        costs = {"parameters": receipt.parameters, "flops": receipt.flops, "seconds": round(member.seconds, 3), "steps": member.step}
        return {**row, **costs, "remark": member.remark, **self.also(member)}

    def _recovered(self, member: Member) -> float | None:
        splicer = self.activations.splicer(self.split)
        recovered = math.nan if splicer is None else splicer.cross_entropy(member.sae.reconstruct).recovered
        return recovered if math.isfinite(recovered) else None

    def _checkpoint(self, run: str) -> Path:
        return self.path.parent / "checkpoints" / f"{run}.safetensors"

    def _write(self, rows: Mapping[str, Row]) -> None:
        """Appends lines, flushed to disk; what a crash left unfinished before them stays a line of its own."""
        if not rows:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            file.seek(max(file.tell() - 1, 0))
            cut = file.read(1) not in (b"", b"\n")
            text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows.values())
            file.write(b"\n" * cut + text.encode())
            file.flush()
            os.fsync(file.fileno())
        for run in rows:
            self._checkpoint(run).unlink(missing_ok=True)

    def _tell(self, rows: int, doing: str) -> None:
        self.rows_trained += rows
        speed = self.rows_trained / max(time.perf_counter() - self.begun, 1e-9)
        left = max(self.rows_planned - self.rows_trained, 0)
        share = min(self.rows_trained / self.rows_planned, 1.0) if self.rows_planned else 1.0
        self.observe(Status(doing, 0, 0, share, speed, left / speed if speed else None))


def _cohorts(runs: list[Run], executor: Executor) -> Iterator[list[Run]]:
    """Yields runs in the order given, as many together as train side by side; stacked ones only with those of their structure."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault("" if isinstance(executor, Looped) else run.structure, []).append(run)
    most = AT_ONCE[executor.name]
    for group in groups.values():
        yield from (group[first : first + most] for first in range(0, len(group), most))


def _read(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "run" in row else None
