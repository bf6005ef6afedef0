"""Studies: opens or resumes one, runs its baselines and asks, and says how it ended."""

from __future__ import annotations

import copy
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from archsearch.activations import open_activations
from archsearch.assembler.check import check_space
from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import Interrupted, InvalidInput, StudyError, nearest
from archsearch.recipes import names, recipe
from archsearch.search.jobs import Draft, Draw, Setting, baseline_drafts, fitted, levels_of, opened
from archsearch.search.ledger import STORAGE, Ledger, database_url, remember_storage, storage_of
from archsearch.search.lock import only_one
from archsearch.search.provenance import provenance
from archsearch.search.records import Status, StudyRecord
from archsearch.search.runner import Observer, Runner
from archsearch.search.sampler import Sampling, make_sampler
from archsearch.search.stopping import graceful
from archsearch.search.tables import StudyRow, TrialRow
from archsearch.spec.space import Space
from archsearch.spec.template import Template
from archsearch.spec.yaml import Document, load
from archsearch.training.looped import Looped
from archsearch.training.memory import keep_memory
from archsearch.training.precision import best_precision
from archsearch.training.stacked import Stacked

DUPLICATES = 20
"""Asks in a row that bring nothing new, after which the next is drawn at random."""


@dataclass(frozen=True)
class Options:
    """How a study is run; what changes its numbers (`tokens`, `seed`, `sampler`, `precision`) is fixed when it is created."""

    out: Path | None = None
    trials: int | None = None
    tokens: int | None = None
    seed: int | None = None
    device: str = "auto"
    executor: str = "auto"
    precision: str = "auto"
    storage: str | None = None
    sampler: str = "tpe"


def run_study(path: Path, options: Options | None = None, observe: Observer | None = None) -> StudyRecord:
    """Runs the study of a space file to its end, or goes on with it where it was stopped; returns what is known of it.

    Raises:
        InvalidInput: the space or an option is not legal.
        StudyError: the study in the folder is another one, or is being run by another process.
        Interrupted: the user stopped it; everything finished is saved.
    """
    options = options or Options()
    space = load_space(path, options)
    check_space(space, model=128, recipes=baseline_trees(space))  # the width is not known before the activations are; any will do
    device, executor, precision = _resolve(options)
    folder = folder_of(path, options.out)
    folder.mkdir(parents=True, exist_ok=True)
    keep_memory()
    begun = time.perf_counter()
    with only_one(folder), graceful() as stop:
        url = options.storage or (storage_of(folder)[0] if (folder / STORAGE).is_file() else database_url(folder))
        remember_storage(folder, url, space.name)
        ledger = Ledger.open(url, space.name)
        if ledger is not None:
            _same(ledger, space, folder)
        tell = observe or (lambda status: None)
        activations = _open(space, device, tell)
        settings = {"band": list(space.study.band), "objectives": list(space.study.objectives), "seed": space.study.seed}
        settings |= {"sampler": options.sampler, "precision": precision, "asks": 1 if executor == "looped" else 4}
        if ledger is None:
            ledger = _create(url, space, settings, provenance(activations, device, precision, executor))
        ledger.update_study(planned=_planned(space), stopped="")
        before = ledger.study().seconds
        study = _Study(space, ledger, activations, device, executor, folder, url, tell, stop)
        try:
            finished = study.run()
        finally:
            ledger.update_study(seconds=before + time.perf_counter() - begun)
        if not finished:
            raise Interrupted(f"stopped; everything finished is saved in {folder}, and the same command goes on from here")
        ledger.update_study(stopped=f"all {space.study.trials} trials done")
    return ledger.record()


def folder_of(path: Path, out: Path | None = None) -> Path:
    """Returns where the study of a space file is kept."""
    return out or Path("studies") / str(load(path).data.get("name"))


def load_space(path: Path, options: Options) -> Space:
    """Reads a space file, with what the command line says put in the place of what it says."""
    document = load(path)
    data = copy.deepcopy(document.data)
    given = {("study", "trials"): options.trials, ("study", "seed"): options.seed, ("sae", "training", "tokens"): options.tokens}
    for steps, value in given.items():
        node: Any = data
        for step in steps[:-1]:
            node = node.setdefault(step, {}) if isinstance(node, dict) else None
        if value is not None and isinstance(node, dict):
            node[steps[-1]] = value
    return Space.read(replace(document, data=data))


def baseline_trees(space: Space) -> dict[str, dict[str, Any]]:
    """Returns the baselines by name: recipes or the space's own trees, fitted to its width and tokens, open where they are swept and tuned.

    Names no recipe bears are left out; the check names them.
    """
    given = space.baselines
    trees = given if isinstance(given, dict) else {name: recipe(name) for name in given if name in names()}
    return {name: opened(fitted(tree, space.sae), catalogue(), space.study.band) for name, tree in trees.items()}


def _resolve(options: Options) -> tuple[str, str, str]:
    make_sampler(options.sampler, 0)  # an unknown one is refused before anything is written
    device = options.device if options.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise InvalidInput([f"device {device!r} cannot be used on this machine; `--device cpu` can"]) from None
    executor = options.executor if options.executor != "auto" else ("stacked" if device.startswith("cuda") else "looped")
    if executor not in ("looped", "stacked"):
        raise InvalidInput([f"unknown executor {executor!r}; {nearest(executor, ['looped', 'stacked', 'auto'])}"])
    return device, executor, options.precision if options.precision != "auto" else best_precision(device)


def _open(space: Space, device: str, tell: Observer) -> Any:
    def report(doing: str, done: int, total: int) -> None:
        tell(Status(doing, 0, _planned(space), done / total if total else 0.0))

    tell(Status("opening activations", 0, _planned(space)))
    return open_activations(space.activations, device=device, report=report)


def _planned(space: Space) -> int:
    return space.study.trials + len(space.baselines) * space.study.baseline_asks * space.study.sweep


def _same(ledger: Ledger, space: Space, folder: Path) -> None:
    row = ledger.study()
    if row.fingerprint != space.fingerprint():
        changed = "\n  ".join(Space.read(Document(row.space)).difference(space))
        raise StudyError(
            f"{folder}: this study was made with another space; results of the two cannot be mixed. What differs:\n  {changed}\n"
            "Run it under another name or with another `--out`, or change the space back."
        )


def _create(url: str, space: Space, settings: dict[str, Any], where: dict[str, Any]) -> Ledger:
    row = StudyRow(
        name=space.name,
        question=space.question,
        space=space.source.data,
        fingerprint=space.fingerprint(),
        settings=settings,
        provenance=where,
        command=shlex.join(["archsearch", *sys.argv[1:]]),
        planned=_planned(space),
    )
    return Ledger.create(url, row)


class _Study:
    """One session: walks the asks from the first, doing what is not done yet."""

    def __init__(
        self,
        space: Space,
        ledger: Ledger,
        activations: Any,
        device: str,
        executor: str,
        folder: Path,
        url: str,
        tell: Observer,
        stop: Any,
    ):
        settings = ledger.study().settings
        self.space, self.ledger, self.stop = space, ledger, stop
        self.asks_at_once = settings["asks"]
        band = (float(settings["band"][0]), float(settings["band"][1]))
        self.sampling = Sampling(url, space.name, settings["sampler"], settings["seed"], tuple(settings["objectives"]), band)
        self.setting = Setting(activations.d_model, activations.fingerprint, settings["precision"])
        self.fields = catalogue().sparsity
        run = Stacked() if executor == "stacked" else Looped()
        precision = settings["precision"]
        objectives = tuple(settings["objectives"])
        self.runner = Runner(
            ledger, self.sampling, activations, run, folder, device, precision, band, objectives, _planned(space), stop, tell
        )

    def run(self) -> bool:
        """Runs every baseline and every ask; returns False if the user stopped it."""
        self.sampling.forget_orphans({row.optuna_number for row in self.ledger.rows() if row.optuna_number is not None})
        self._expect()
        asks = self._baseline_asks()
        for ask, draft in asks:
            if self.stop() or not self.runner.run(self._rows(ask) or self._write(draft())):
                return False
        ask = len(asks)
        barren = 0
        while self._searched() < self.space.study.trials or self._open(ask):
            cohort: list[TrialRow] = []
            for number in range(ask, ask + self.asks_at_once):
                cohort += self._rows(number) or self._write(self._ask(number, randomly=barren >= DUPLICATES))
                if self._searched() >= self.space.study.trials:
                    break
            if self.stop() or not self.runner.run(cohort):
                return False
            last = {row.number for row in cohort}
            barren = barren + 1 if all(t.copied_from is not None for t in self.ledger.trials() if t.number in last) else 0
            ask = max(row.ask for row in cohort) + 1
        self.runner.splice_best()
        return not self.stop()

    def _expect(self) -> None:
        finished = sum(trial.state != "running" for trial in self.ledger.trials())
        middle = parse(self.space.fill(Draw(0, 0, {})).document)
        self.runner.rows_left = (_planned(self.space) - finished) * middle.training.tokens

    def _rows(self, ask: int) -> list[TrialRow]:
        return [row for row in self.ledger.rows() if row.ask == ask]

    def _open(self, ask: int) -> bool:
        return any(row.ask >= ask and (row.state == "running" or not row.told) for row in self.ledger.rows())

    def _searched(self) -> int:
        return sum(row.baseline is None for row in self.ledger.rows())

    def _write(self, drafts: list[Draft]) -> list[TrialRow]:
        first = len(self.ledger.rows())
        rows = [draft.row(first + index, self.setting) for index, draft in enumerate(drafts)]
        self.ledger.add_trials(rows)
        return self._rows(drafts[0].ask)

    def _baseline_asks(self) -> list[tuple[int, Any]]:
        found = []
        for name, tree in baseline_trees(self.space).items():
            template = Template.read(tree)
            hole = self.space.sparsity_hole(template.fill(Draw(0, 0, {})), self.fields)
            for index in range(self.space.study.baseline_asks):
                ask = len(found)

                def draft(name: str = name, template: Template = template, hole: Any = hole, ask: int = ask, index: int = index) -> Any:
                    return baseline_drafts(name, template, hole, ask, index, self.space.study.sweep, self.space.study.seed)

                found.append((ask, draft))
        return found

    def _ask(self, ask: int, randomly: bool) -> list[Draft]:
        trial = self.sampling.ask(ask, randomly)
        filled = self.space.fill(trial)
        drafts = [Draft(ask, 0, filled.document, filled.params, None, trial.number)]
        hole = self.space.sparsity_hole(filled, self.fields)
        if hole is None:
            return drafts
        left = self.space.study.trials - self._searched()
        values = levels_of(self.space.parameters()[hole].hole, filled.params[hole], min(self.space.study.sweep, left))
        for level, value in enumerate(values[1:], start=1):
            other = self.sampling.ask_fixed({**filled.params, hole: value})
            again = self.space.fill(other)
            drafts.append(Draft(ask, level, again.document, again.params, None, other.number))
        return drafts
