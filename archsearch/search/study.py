"""Studies: opens or resumes one, runs its baselines and asks, and says how it ended."""

from __future__ import annotations

import copy
import math
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from archsearch.activations import check_activations, open_activations
from archsearch.assembler.check import check_space
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import Interrupted
from archsearch.recipes import names, recipe
from archsearch.search.climb import Climb
from archsearch.search.cutting import Cutting
from archsearch.search.endings import Ending
from archsearch.search.evolution.evolution import Evolution, refuse_other_sweeps
from archsearch.search.guards import NOMINAL_WIDTH, fitting, same_data, same_options, same_space, settings_of
from archsearch.search.jobs import Setting, fitted, opened
from archsearch.search.ledger import STORAGE, Ledger, database_url, remember_storage, storage_of
from archsearch.search.lock import only_one
from archsearch.search.priors import priors_of
from archsearch.search.proposing import Proposer
from archsearch.search.provenance import provenance
from archsearch.search.records import Status, StudyRecord
from archsearch.search.refining import Refining, refuse_objectives
from archsearch.search.runner import Observer, Runner
from archsearch.search.sampler import EVOLUTION, REFINING, Opening, Sampling, make_sampler
from archsearch.search.stopping import graceful
from archsearch.search.storage_errors import GOES_ON, worded
from archsearch.search.tables import StudyRow
from archsearch.search.walk import Walk
from archsearch.search.warm_start import WARM_START, begun_with, same_start, warm_start
from archsearch.spec.holes import ChoiceHole
from archsearch.spec.space import TARGET, Space
from archsearch.spec.stop import StopSpec
from archsearch.spec.yaml import load
from archsearch.training.looped import Looped
from archsearch.training.machine import resolve_machine
from archsearch.training.memory import keep_memory
from archsearch.training.stacked import Stacked


@dataclass(frozen=True)
class Options:
    """How a study is run; what changes its numbers is fixed when it is created (all but `trials`, `hours`, `device` and `storage`).

    `hours`: wall clock after which it ends, all sessions together; `asks`: structures in training at a time; `warm_start`: folder of an
    earlier study that a new one begins from. `auto` and None: as the study was begun; where it is new, TPE and what suits the device.
    """

    out: Path | None = None
    trials: int | None = None
    hours: float | None = None
    tokens: int | None = None
    seed: int | None = None
    asks: int | None = None
    device: str = "auto"
    executor: str = "auto"
    precision: str = "auto"
    storage: str | None = None
    sampler: str = "auto"
    warm_start: str | None = None


def run_study(path: Path, options: Options | None = None, observe: Observer | None = None) -> StudyRecord:
    """Runs the study of a space file to its end, or goes on with it where it was stopped; returns what is known of it.

    Raises:
        InvalidInput: the space or an option is not legal.
        StudyError: the study in the folder is another one, or is being run by another process.
        Interrupted: the user stopped it; everything finished is saved.
    """
    options = options or Options()
    space = load_space(path, options)
    baselines = baseline_trees(space)
    check_space(space, model=NOMINAL_WIDTH, recipes=baselines, names=names())
    check_activations(space.activations, space.source)
    device, new = _resolve(options)
    if refuse := {EVOLUTION: refuse_other_sweeps, REFINING: refuse_objectives}.get(new["sampler"]):
        refuse(space)
    folder = folder_of(path, options.out)
    folder.mkdir(parents=True, exist_ok=True)
    keep_memory()
    begun = time.perf_counter()
    url = options.storage or (storage_of(folder)[0] if (folder / STORAGE).is_file() else database_url(folder))
    with only_one(folder), graceful() as stop, worded(url, GOES_ON):
        remember_storage(folder, url, space.name)
        ledger = Ledger.open(url, space.name)
        if ledger is not None:
            same_space(ledger, space, folder)
            given: dict[str, Any] = {"sampler": options.sampler, "precision": options.precision, "executor": options.executor}
            given["asks"] = "auto" if options.asks is None else options.asks
            same_options(settings_of(ledger), given, folder)
            same_start(ledger.events(WARM_START), options.warm_start, folder)
        tell = observe or (lambda status: None)
        activations = _open(space, device, tell, stop)
        fitting(space, activations, baselines)
        if ledger is None:
            where = provenance(activations, device, new["precision"], new["executor"])
            setting = Setting(activations.d_model, activations.fingerprint, new["precision"])
            warm = warm_start(options.warm_start, space, setting, tell, stop) if options.warm_start else None
            begun_from = [(WARM_START, warm.as_dict())] if warm is not None else []
            ledger = _create(url, space, new, where, folder, options.asks, begun_from)
        same_data(ledger, activations, folder)
        ledger.update_study(planned=_planned(space, ledger.count(searched=True)), stopped="")
        ending = Ending(ledger, space.study.stop or StopSpec.model_validate({}), space.study.band, ledger.study().seconds, begun)
        walk = _walk(space, ledger, activations, device, folder, url, tell, stop, ending)
        try:
            finished = walk.run(baselines)
        finally:
            walk.runner.close()
        ending.save()
        if not finished:
            raise Interrupted(f"stopped; everything finished is saved in {folder}, and the same command goes on from here")
        ledger.update_study(stopped=walk.ended)
        return ledger.record()


def folder_of(path: Path, out: Path | None = None) -> Path:
    """Returns where the study of a space file is kept."""
    return out or Path("studies") / name_of(path)


def name_of(path: Path) -> str:
    """Returns the name a space file gives its study."""
    return str(load(path).data.get("name"))


def load_space(path: Path, options: Options) -> Space:
    """Reads a space file, with what the command line says put in the place of what it says."""
    document = load(path)
    data = copy.deepcopy(document.data)
    given: dict[tuple[str, ...], Any] = {("study", "trials"): options.trials, ("study", "seed"): options.seed}
    given |= {("study", "stop", "hours"): options.hours, ("sae", "training", "tokens"): options.tokens}
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
    return {name: opened(fitted(tree, space.sae), catalogue(), space.study) for name, tree in trees.items()}


def _resolve(options: Options) -> tuple[str, dict[str, str]]:
    """Returns the device, and the settings a new study would be begun with."""
    sampler = options.sampler if options.sampler != "auto" else "tpe"
    make_sampler(sampler, 0)  # an unknown one is refused before anything is written
    device, executor, precision = resolve_machine(options.device, options.executor, options.precision)
    return device, {"sampler": sampler, "precision": precision, "executor": executor}


def _open(space: Space, device: str, tell: Observer, stop: Callable[[], bool]) -> Any:
    def report(doing: str, done: int, total: int) -> None:
        if stop():
            raise Interrupted(f"stopped ({doing}, {done} of {total}); the same command starts it again")
        tell(Status(doing, 0, _planned(space), done / total if total else 0.0))

    tell(Status("opening activations", 0, _planned(space)))
    return open_activations(space.activations, device=device, report=report)


def _planned(space: Space, written: int = 0) -> int:
    """Returns how many trials a study will have; `written`: those of its search that are there already."""
    return max(space.study.trials, written) + len(space.baselines) * space.study.baseline_asks * space.study.levels


def _at_once(space: Space, executor: str) -> int:
    """Returns how many asks are in flight at a time where nobody says.

    On cores, enough trials for all of them and one ask more, whose trials take the places of those that end early; on a device that trains
    stacks, four.
    """
    return 4 if executor == "stacked" else 1 + math.ceil(torch.get_num_threads() / space.study.levels)


def _create(
    url: str,
    space: Space,
    new: dict[str, str],
    where: dict[str, Any],
    folder: Path,
    asks: int | None,
    events: list[tuple[str, dict[str, Any]]],
) -> Ledger:
    """Writes a new study; what an earlier one left in the folder is not its own, and goes."""
    for name in ("checkpoints", "saes"):
        for path in (folder / name).glob("*"):
            if path.is_file():
                path.unlink()
    settings = {"band": list(space.study.band), "objectives": list(space.study.objectives), "seed": space.study.seed}
    row = StudyRow(
        name=space.name,
        question=space.question,
        space=space.source.data,
        fingerprint=space.fingerprint(),
        settings={**settings, **new, "asks": asks or _at_once(space, new["executor"])},
        provenance=where,
        command=shlex.join(["archsearch", *sys.argv[1:]]),
        planned=_planned(space),
    )
    return Ledger.create(url, row, events)


def asked_of(space: Space) -> tuple[float, ...]:
    """Returns the L0s SAEs of a space are asked for; none where it leaves them to a range."""
    target = space.parameters().get(TARGET)
    values = target.hole.values if target is not None and isinstance(target.hole, ChoiceHole) else ()
    return tuple(value for value in values if isinstance(value, (int, float)))


def _walk(
    space: Space,
    ledger: Ledger,
    activations: Any,
    device: str,
    folder: Path,
    url: str,
    tell: Observer,
    stop: Callable[[], bool],
    ending: Ending,
) -> Walk:
    """Puts one session of a study together, from the settings it was begun with."""
    settings = settings_of(ledger)
    band = (float(settings["band"][0]), float(settings["band"][1]))
    objectives, precision = tuple(settings["objectives"]), settings["precision"]
    warm = begun_with(ledger.events(WARM_START))
    opening = Opening(len(space.baselines) * space.study.baseline_asks, tuple(warm.asks), priors_of(space))
    begun = (url, space.name, settings["sampler"], settings["seed"])
    sampling = Sampling(*begun, objectives, band, opening, space.parameters(), asked_of(space))
    sampling.add_evidence(warm.evidence, warm.study)
    executor = Stacked() if settings["executor"] == "stacked" else Looped()
    planned = _planned(space, ledger.count(searched=True))
    climb = Climb(ledger, sampling, space.study.ladder)
    at_once = settings["asks"]
    setting = Setting(activations.d_model, activations.fingerprint, precision)
    told = (planned, stop, tell, Cutting.of(space.study, setting))
    runner = Runner(ledger, sampling, activations, executor, folder, device, precision, band, objectives, climb, at_once, *told)
    evolution = Evolution(space, activations.d_model, settings["seed"], band, objectives) if settings["sampler"] == EVOLUTION else None
    refining = Refining(space, sampling) if settings["sampler"] == REFINING else None
    return Walk(space, ledger, sampling, runner, setting, ending, Proposer(space, sampling, evolution, refining))
