"""Confirms a study: trains its best structures and its baselines again with fresh seeds, and judges them on rows no search has seen."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from archsearch.activations import open_activations
from archsearch.activations.data import Activations
from archsearch.errors import Interrupted, InvalidInput, Problem, StudyError
from archsearch.search.contenders import Contender, Contenders, asked, contenders_of, fresh_seeds, latents_of, reseeded
from archsearch.search.judging import Curves, Judgement, below_best, judge
from archsearch.search.ledger import Ledger, read_study, storage_of
from archsearch.search.lock import only_one
from archsearch.search.provenance import NUMERICS, provenance
from archsearch.search.records import Status, StudyRecord
from archsearch.search.replicates import Replicates
from archsearch.search.stopping import graceful
from archsearch.spec.activations import ActivationsSpec
from archsearch.training.looped import Looped
from archsearch.training.machine import resolve_machine
from archsearch.training.memory import keep_memory
from archsearch.training.stacked import Stacked

FORMAT = "archsearch-confirm-1"

OPENED = "test_opened"
"""Kind of the events that count how often the test split was opened for a study."""

SPLIT = "test"

COPIED = ("l0", "fvu", "ce_recovered", "dead_frac", "gamma", "parameters", "flops", "seconds")
"""What a row of confirm.json takes over from what was measured."""

Observer = Callable[[Status], None]


@dataclass(frozen=True)
class Options:
    """How a study is confirmed.

    `activations`: another source to go to, called `label`; `width` and `tokens`: others than the study's. `auto`: precision as in the
    study, the executor that suits the device.
    """

    best: int = 3
    seeds: int = 5
    tokens: int | None = None
    width: int | None = None
    activations: Any = None
    label: str = ""
    device: str = "auto"
    executor: str = "auto"
    precision: str = "auto"

    @property
    def folder(self) -> str:
        """Name of the folder inside the study's: one for the study's own setting, one for each it is transferred to."""
        other = [self.label] if self.activations is not None else []
        return "-".join(["confirm", *other, *([f"width{self.width}"] if self.width else [])])


def confirm_study(folder: Path, options: Options, observe: Observer | None = None) -> tuple[Path, dict[str, Any]]:
    """Returns the folder of a confirmation and all that it found, plain JSON values; trains what was not trained before.

    Raises:
        InvalidInput: an option is not legal, or a contender cannot be built with these options.
        StudyError: there is nothing to confirm, the study is being run, or its activations have changed.
        Interrupted: the user stopped it; everything finished is saved.
    """
    if options.seeds < 2:
        raise InvalidInput([f"--seeds must be at least 2, since one says nothing of how much is chance; got {options.seeds}"])
    record = read_study(folder)
    group = contenders_of(record, options.best)
    seeds, out = fresh_seeds(record, options.seeds), folder / options.folder
    tell = observe or (lambda status: None)
    keep_memory()
    with only_one(folder):
        repeats, openings = _prepared(record, folder, options, out, tell)
        documents = _documents(group, seeds, options)
        _all_buildable(group, documents, seeds[0], repeats)
        out.mkdir(exist_ok=True)
        rows = repeats.run(documents)
        opened = openings.count()
    where = provenance(repeats.activations, repeats.device, repeats.precision, repeats.executor.name)
    told = _told(record, group, seeds, rows, options)
    return out, {**told, "openings": opened, "activations": repeats.activations.provenance, "provenance": where}


class Openings:
    """Counts in the ledger how often the test split was opened: once a command, when the first of its rows are read to be measured on."""

    def __init__(self, ledger: Ledger, told: Mapping[str, Any]):
        self.ledger, self.told, self.noted = ledger, dict(told), False

    def watched(self, activations: Activations) -> Activations:
        """Returns activations that note an opening before they give out rows or a splicer of the test split."""

        def load(split: Any) -> Any:
            self._note(split)
            return activations.load(split)

        def splicer(split: Any) -> Any:
            self._note(split)
            return activations.make_splicer(split) if activations.make_splicer else None

        return replace(activations, load=load, make_splicer=splicer if activations.make_splicer else None)

    def count(self) -> int:
        """Returns how often it was opened so far."""
        return len(self.ledger.events(OPENED))

    def _note(self, split: str) -> None:
        if split == SPLIT and not self.noted:
            self.noted = True
            self.ledger.note(OPENED, self.told)


def _prepared(record: StudyRecord, folder: Path, options: Options, out: Path, tell: Observer) -> tuple[Replicates, Openings]:
    """Opens activations and ledger, and returns what trains and what counts."""
    own = record.provenance.get("precision", "auto")
    device, executor, precision = resolve_machine(options.device, options.executor, options.precision)
    precision = own if options.precision == "auto" and own != "auto" else precision
    activations = _opened(record, options, device, tell)
    ledger = Ledger.open(storage_of(folder)[0], record.name)
    if ledger is None:
        raise StudyError(f"{folder}: holds no study {record.name!r} any more")
    told = {"folder": options.folder, "command": _command(), "activations": activations.fingerprint}
    openings = Openings(ledger, told)
    trains = Stacked() if executor == "stacked" else Looped()
    return Replicates(out / "runs.jsonl", openings.watched(activations), device, trains, precision, SPLIT, tell), openings


def _opened(record: StudyRecord, options: Options, device: str, tell: Observer) -> Activations:
    """Opens the activations of the study, or those to go to.

    Raises:
        StudyError: the study's own are no longer the same.
    """
    source: Any = options.activations or TypeAdapter(ActivationsSpec).validate_python(
        record.space.get("activations", {"source": "bundled"})
    )
    with graceful() as stop:

        def report(doing: str, done: int, total: int) -> None:
            if stop():
                raise Interrupted(f"stopped ({doing}, {done} of {total}); the same command starts it again")
            tell(Status(doing, 0, 0, done / total if total else 0.0))

        activations = open_activations(source, device=device, report=report)
    was = record.provenance["activations"]["fingerprint"]
    if options.activations is None and was != activations.fingerprint:
        raise StudyError(
            f"{record.name}: the activations have changed since the study, fingerprint {was[:12]} -> {activations.fingerprint[:12]}. "
            "Put the old ones back, or name the new ones (`--activations FILE`): then it says whether the findings hold there too"
        )
    return activations


def _key(contender: Contender, level: int, seed: int) -> str:
    return f"{contender.name}, level {level}, seed {seed}"


def _documents(group: Contenders, seeds: list[int], options: Options) -> dict[str, dict[str, Any]]:
    """Returns every spec to train, a seed of all contenders before the next; contenders of a seed share first weights and order of rows."""
    return {
        _key(contender, level, seed): reseeded(trial.spec, seed, options.tokens, options.width)
        for seed in seeds
        for contender in group.all
        for level, trial in enumerate(contender.trials)
    }


def _all_buildable(group: Contenders, documents: Mapping[str, dict[str, Any]], seed: int, repeats: Replicates) -> None:
    """Refuses contenders that cannot be built on these activations, at this width or for so few tokens, before any is trained.

    Raises:
        InvalidInput: with every problem and the trial it comes from.
    """
    problems: list[Problem | str] = []
    for contender in group.all:
        for level, trial in enumerate(contender.trials):
            document, place = documents[_key(contender, level, seed)], f"trial {trial.number} ({contender.name})"
            wanted, latents = asked(document), latents_of(document)
            if wanted is not None and wanted > latents:
                problems.append(
                    Problem(f"asks for L0 {wanted:g}, and there are only {latents} latents; choose a larger --width", file=place)
                )
            try:
                repeats.planned("", document)
            except InvalidInput as error:
                problems += [replace(one, file=place, line=None) for one in error.problems]
    if problems:
        raise InvalidInput(problems)


def _command() -> str:
    return shlex.join(["archsearch", *sys.argv[1:]])


def _told(record: StudyRecord, group: Contenders, seeds: list[int], rows: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Returns what was measured and what it says, as plain data."""
    measured = {one.name: [_row(one, level, seed, rows) for seed in seeds for level in range(len(one.trials))] for one in group.all}
    curves = {one.name: Curves.of(one.name, one.baseline, measured[one.name]) for one in group.all}
    found = judge(list(curves.values()), record.band)
    return {
        "format": FORMAT,
        "study": record.name,
        "command": _command(),
        "seeds": seeds,
        "tokens": options.tokens or max(_budgets(group)),
        "width": options.width,
        "split": SPLIT,
        "bands": [list(band) for band in found.bands],
        "contenders": [_contender(one, group, measured[one.name], curves) for one in group.all],
        "verdicts": [verdict.as_dict() for verdict in found.verdicts],
        "areas": found.areas,
        "hypervolume_gain": _gains(found),
        "remarks": _remarks(record, group, options),
    }


def _row(contender: Contender, level: int, seed: int, rows: Mapping[str, Any]) -> dict[str, Any]:
    found, trial = rows[_key(contender, level, seed)], contender.trials[level]
    failed = {"failure": found["failure"]} if "failure" in found else {}
    noted = {"remark": found["remark"]} if found.get("remark") else {}
    place = {"seed": seed, "level": level, "trial": trial.number, "asked": asked(trial.spec)}
    return {**place, **{name: found.get(name) for name in COPIED}, "run": found["run"], **noted, **failed}


def _contender(contender: Contender, group: Contenders, rows: list[dict[str, Any]], curves: Mapping[str, Curves]) -> dict[str, Any]:
    """Returns a contender with its rows; a candidate also with what the search showed of it and what fresh seeds give there."""
    best = contender.best or contender.trials[0]
    number = None if contender.baseline else best.number
    told = {"name": contender.name, "baseline": contender.baseline, "trial": number, "words": contender.words, "spec": best.spec}
    promise = {} if contender.best is None else {"promise": _promise(contender, group, curves)}
    return {**told, "trials": [trial.number for trial in contender.trials], **promise, "rows": rows}


def _promise(contender: Contender, group: Contenders, curves: Mapping[str, Curves]) -> dict[str, Any] | None:
    """Returns what the search showed of a candidate at its best L0, beside what fresh seeds give there; None where nothing can be read."""
    assert contender.best is not None
    l0 = contender.best.measurements["l0"]
    before = {one.name: Curves.of(one.name, one.baseline, _searched(one)) for one in (contender, *group.baselines)}
    shown, fresh = (below_best(there[contender.name], [there[one.name] for one in group.baselines], l0) for there in (before, curves))
    if shown is None:
        return None
    told = None if fresh is None else {"at": fresh[0], "mean": fresh[1].mean, "low": fresh[1].low, "high": fresh[1].high}
    return {"l0": shown[0], "difference": shown[1].mean, "fresh": told}


def _searched(contender: Contender) -> list[dict[str, Any]]:
    """Returns the trials of a contender that finished, as rows of one seed."""
    done = [(level, trial.measurements) for level, trial in enumerate(contender.trials) if trial.state == "complete"]
    return [{"seed": 0, "level": level, "l0": found.get("l0"), "fvu": found.get("fvu")} for level, found in done]


def _gains(found: Judgement) -> dict[str, dict[str, Any]]:
    share = 100 / found.joint if found.joint > 0 else 0.0
    return {
        name: {"mean": gain.mean, "low": gain.low, "high": gain.high, "percent": gain.mean * share, "seeds": gain.count}
        for name, gain in found.gains.items()
    }


def _remarks(record: StudyRecord, group: Contenders, options: Options) -> list[str]:
    """Returns what a reader should know of how this came about."""
    told = list(group.remarks)
    if group.left_out:
        names = "; ".join(contender.name for contender in group.left_out)
        told.append(f"left out, as lying less far below the baselines in the search (`--best`): {names}")
    done = sum(trial.state != "running" for trial in record.trials)
    if not record.stopped or done < record.planned:
        told.append(f"the study has not ended ({done} of {record.planned} trials): what it finds later is not confirmed by this")
    was = record.provenance.get("numerics")
    if was != NUMERICS:
        told.append(f"the study was made by a version whose numbers differ (numerics {was} -> {NUMERICS}); all was trained by this one")
    if options.activations is not None:
        told.append(f"a transfer: trained and measured on other activations than the study's ({options.label})")
    if options.width is not None:
        told.append(f"a transfer: width {options.width} in place of the study's")
    budgets = ", ".join(f"{value:,}" for value in sorted(_budgets(group)))
    if options.tokens is not None and _budgets(group) != {options.tokens}:
        told.append(f"trained on {options.tokens:,} tokens, the study on {budgets}")
    elif len(_budgets(group)) > 1:
        told.append(f"contenders differ in the tokens they are trained on ({budgets}), as in the study")
    return told


def _budgets(group: Contenders) -> set[int]:
    return {trial.spec["training"]["tokens"] for one in group.all for trial in one.trials}
