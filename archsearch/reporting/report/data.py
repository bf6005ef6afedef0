"""Everything a report says of a study, worked out once as plain data: pages and files are only made from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from archsearch.reporting.front import FrontRow, baseline_curves, baseline_names, finite, front_rows, front_trials
from archsearch.reporting.picture import Picture, picture
from archsearch.reporting.report.bands import BandResult, band_results
from archsearch.reporting.report.boxes import Diagram, diagram, united
from archsearch.reporting.report.confirmed import read_confirmed
from archsearch.reporting.report.volume import Volume, tokens_of, volumes
from archsearch.reporting.report.worth import Worth, worth
from archsearch.search.records import StudyRecord, TrialRecord


@dataclass(frozen=True)
class Architecture:
    """SAEs of the front of one shape: their trials, the family of each, and one diagram of all."""

    trials: tuple[TrialRecord, ...]
    families: tuple[str, ...]
    diagram: Diagram


@dataclass(frozen=True)
class Cost:
    """What a group of trials cost: `tokens` rows trained on, `seconds` of training, `flops` of it (an estimate), SAEs `trained`."""

    name: str
    trained: int
    tokens: int
    seconds: float | None
    middle_seconds: float | None
    flops: float | None


@dataclass(frozen=True)
class Report:
    """A study, and all that is worked out of it.

    `study`: how commands name it; `names`: every series of the study (baselines, then families of the search), whose place decides how it
    is drawn; `family_of`: series by trial number; `curves`: best trials of each baseline; `confirmed`: content of `confirm.json`, if there;
    `settings`: what the study was created with (sampler, seed), as far as known.
    """

    record: StudyRecord
    study: str
    picture: Picture
    front: list[FrontRow]
    names: list[str]
    family_of: dict[int, str]
    curves: dict[str, list[TrialRecord]]
    bands: list[BandResult]
    volume: Volume
    worth: Worth
    architectures: list[Architecture]
    costs: list[Cost]
    confirmed: dict[str, Any] | None
    settings: dict[str, Any]

    @property
    def by_number(self) -> dict[int, TrialRecord]:
        """Every trial by its number."""
        return {trial.number: trial for trial in self.record.trials}

    @property
    def seeds(self) -> int:
        """How many different seeds the SAEs of the search were trained with (count)."""
        training = [trial.spec.get("training") or {} for trial in self.record.trials if not trial.baseline]
        return len({one.get("seed", 0) for one in training})

    def index_of(self, trial: TrialRecord) -> int:
        """Returns the place of a trial's series among `names`; 0 for one that was never measured."""
        name = self.family_of.get(trial.number)
        return self.names.index(name) if name in self.names else 0


def gather(record: StudyRecord, folder: Path, settings: dict[str, Any] | None = None) -> Report:
    """Returns all a report says of `record`, with what else lies in the study's folder.

    Raises:
        StudyError: something in the folder that belongs to the report is damaged.
    """
    shown = picture(record)
    curves = baseline_curves(record)
    searched = {shown.family_of[t.number] for t in record.trials if not t.baseline and t.number in shown.family_of}
    return Report(
        record=record,
        study=str(folder) if folder.is_absolute() or len(folder.parts) != 2 or folder.parts[0] != "studies" else folder.name,
        picture=shown,
        front=front_rows(record),
        names=list(dict.fromkeys([*baseline_names(record), *sorted(searched)])),  # as the picture colours them
        family_of=shown.family_of,
        curves=curves,
        bands=band_results(record, shown.family_of),
        volume=volumes(record),
        worth=worth(record),
        architectures=architectures(front_trials(record), shown.family_of),
        costs=costs(record, shown.family_of),
        confirmed=read_confirmed(folder),
        settings=settings or {},
    )


def architectures(members: list[TrialRecord], family_of: dict[int, str]) -> list[Architecture]:
    """Returns the front's architectures, each drawn once for all members that differ in settings only; the commonest first."""
    found: dict[Any, list[tuple[TrialRecord, Diagram]]] = {}
    for trial in members:
        shown = diagram(trial.spec)
        found.setdefault(shown.shape(), []).append((trial, shown))
    made = [
        Architecture(
            tuple(trial for trial, _ in group),
            tuple(dict.fromkeys(family_of.get(trial.number, "") for trial, _ in group)),
            united([shown for _, shown in group]),
        )
        for group in found.values()
    ]
    return sorted(made, key=lambda one: -len(one.trials))


def costs(record: StudyRecord, family_of: dict[int, str]) -> list[Cost]:
    """Returns the cost of the baselines, of each family of the search, and of all together."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in record.trials:
        name = f"baseline {trial.baseline}" if trial.baseline else family_of.get(trial.number, "not measured")
        groups.setdefault(name, []).append(trial)
    order = sorted(groups, key=lambda name: (not name.startswith("baseline "), name))
    return [*[_cost(record, name, groups[name]) for name in order], _cost(record, "all", record.trials)]


_PASSES = 3
"""Forward passes a training step counts as: one forward, and two for the way back."""


def _cost(record: StudyRecord, name: str, trials: list[TrialRecord]) -> Cost:
    trained = [trial for trial in trials if trial.copied_from is None and trial.state != "running"]
    seconds = [value for trial in trained if (value := finite(trial.measurements.get("seconds"))) is not None]
    tokens = [tokens_of(record, trial) for trial in trained]
    flops = [_PASSES * value * count for t, count in zip(trained, tokens, strict=True) if (value := finite(t.measurements.get("flops")))]
    return Cost(
        name,
        len(trained),
        sum(tokens),
        sum(seconds) if seconds else None,
        median(seconds) if seconds else None,
        sum(flops) if flops else None,
    )


def kinds_of(record: StudyRecord) -> Counter[str]:
    """Returns how many trials use each kind of block, anywhere in their specs."""
    found: Counter[str] = Counter()
    for trial in record.trials:
        found.update(set(_kinds(trial.spec)))
    return found


def _kinds(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["kind"]] if isinstance(value.get("kind"), str) else []
        return own + [kind for entry in value.values() for kind in _kinds(entry)]
    if isinstance(value, list):
        return [kind for entry in value for kind in _kinds(entry)]
    return []
