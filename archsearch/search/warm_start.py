"""Warm starts: what a new study takes over from an earlier one, decided once, when it is created.

Structures of the earlier front are asked first, and trained anew. Where its numbers mean the same here, the sampler learns from its trials
too; they are no trials of the new study, and stand neither on its front nor in its tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from archsearch.blocks.catalogue import catalogue
from archsearch.errors import Interrupted, StudyError
from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.earlier import Earlier, structure
from archsearch.search.jobs import Setting
from archsearch.search.ledger import Ledger, read_study, storage_of
from archsearch.search.provenance import NUMERICS
from archsearch.search.records import Status, StudyRecord, TrialRecord, front
from archsearch.spec.space import Space

WARM_START = "warm_start"
"""Kind of the event that tells what a study was begun with."""

FIRST = 4
"""Structures of the earlier front that are asked first, at most; and never more than half of those the new study has."""


@dataclass(frozen=True)
class Evidence:
    """A trial of the earlier study as the sampler of the new one sees it; without measurements, it failed or was stopped."""

    number: int
    params: dict[str, Any]
    measurements: dict[str, float] | None


@dataclass(frozen=True)
class WarmStart:
    """What a study takes over: `asks`, fills of its first structures; `evidence`; `said`, what was used and what was not, in sentences.

    `study` and `folder` are the earlier study's, as it was named.
    """

    study: str
    folder: str
    asks: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Returns it as plain data, for the event that keeps it."""
        return asdict(self)

    @staticmethod
    def read(told: Mapping[str, Any]) -> WarmStart:
        """Returns what such an event tells."""
        return WarmStart(**{**told, "evidence": [Evidence(**one) for one in told["evidence"]]})


def plan(
    record: StudyRecord, folder: str, space: Space, setting: Setting, report: Callable[[int, int], None] = lambda done, total: None
) -> WarmStart:
    """Returns what a new study of `space` takes over from an earlier one.

    Args:
        record: the earlier study.
        folder: as it was named.
        space: what the new study searches.
        setting: what the new study's trials share.
        report: told how many of the earlier trials have been looked at, of all.

    Raises:
        StudyError: there is nothing to take over; says why.
    """
    look = Earlier(record, space, setting)
    for done, trial in enumerate(look.trials):
        report(done, len(look.trials))
        look.place(trial)
    first, said = _first(look)
    evidence, more = _evidence(look)
    if not first and not evidence:
        raise StudyError(f"--warm-start {folder}: that study has nothing for this space:\n  " + "\n  ".join([*said, *more]))
    return WarmStart(record.name, folder, first, evidence, [f"begun from the study {record.name}", *said, *more])


def warm_start(folder: str, space: Space, setting: Setting, tell: Callable[[Status], None], stop: Callable[[], bool]) -> WarmStart:
    """Reads the study in `folder` and returns what a new study takes over from it, `tell` being told how far that is.

    Raises:
        StudyError: there is no study, or nothing to take over.
        Interrupted: the user stopped it.
    """

    def report(done: int, total: int) -> None:
        if stop():
            raise Interrupted(f"stopped (looking at {folder}, {done} of {total}); the same command starts it again")
        tell(Status(f"looking at {folder}", 0, space.study.trials, done / total))

    return plan(read_study(Path(folder)), folder, space, setting, report)


def begun_with(events: Sequence[Mapping[str, Any]]) -> WarmStart:
    """Returns what a study was begun with, by its events of that kind; nothing where there is none."""
    return WarmStart.read(events[0]) if events else WarmStart("", "")


def said_at_start(folder: Path, name: str) -> list[str]:
    """Returns what there is to say of the start of a study, in sentences; nothing where it took nothing over."""
    try:
        ledger = Ledger.open(storage_of(folder)[0], name)
    except StudyError:
        return []
    return begun_with(ledger.events(WARM_START)).said if ledger is not None else []


def same_start(events: Sequence[Mapping[str, Any]], given: str | None, folder: Path) -> None:
    """Refuses to give a study that is begun another start; the study it was begun from need not be there any more.

    Raises:
        StudyError: it was begun from another study, or from none.
    """
    was = begun_with(events)
    if given is not None and given not in (was.folder, was.study):
        begun = f"begun from {was.folder}" if events else "begun without a warm start"
        raise StudyError(
            f"{folder}: this study was {begun}, and a start cannot be changed; got --warm-start {given}. "
            "Leave it out to go on as it was begun, or run it with another `--out`."
        )


def _first(look: Earlier) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the fills of the structures asked first, best first, and what is to be said of them."""
    record, study = look.record, look.space.study
    members: dict[str, list[TrialRecord]] = {}
    for trial in front(record.trials, record.band, record.objectives):
        if trial.baseline is None and trial.copied_from is None:
            members.setdefault(structure(trial.spec), []).append(trial)
    if not members:
        return [], ["no structure of its search stands on its front"]
    kept: dict[str, tuple[TrialRecord, dict[str, Any]]] = {}
    outside: list[TrialRecord] = []
    for key in _by_contribution(members, record.band):
        filled = look.found[key]
        if filled is None:
            outside.append(members[key][0])
            continue
        hole = look.space.sparsity_hole(filled, catalogue().sparsity)
        kept.setdefault(repr({**filled.params, hole: None}), (members[key][0], filled.params))
    most = min(FIRST, max(study.trials // study.levels // 2, 1))
    asked, left = list(kept.values())[:most], len(kept) - most
    said = []
    if asked:
        said.append(f"asked first, and trained anew: the structures of its {_numbered([trial for trial, _ in asked])}, best first")
    if left > 0:
        said.append(f"{left} more of its front lie in this space; they are not asked first, as {most} at most are")
    if outside:
        why = f"{_numbered(outside[:1])} {look.why[structure(outside[0].spec)]}"
        said.append(f"on its front, but not in this space: {_numbered(outside)}; {why}")
    return [params for _, params in asked], said


def _by_contribution(members: Mapping[str, Sequence[TrialRecord]], band: tuple[float, float]) -> list[str]:
    """Returns the structures of a front by the hypervolume that would be lost without each, most first."""

    def volume(keys: Iterable[str]) -> float:
        return hypervolume([(t.measurements["l0"], t.measurements["fvu"]) for key in keys for t in members[key]], band)

    whole = volume(members)
    return sorted(members, key=lambda key: (volume(other for other in members if other != key) - whole, members[key][0].number))


def _evidence(look: Earlier) -> tuple[list[Evidence], list[str]]:
    """Returns what the sampler is told of the earlier trials, and what is to be said of it."""
    changed = _changed(look)
    if changed:
        return [], [f"its trials are no evidence here: {'; '.join(changed)}"]
    wanted = dict.fromkeys(("l0", *look.record.objectives))
    found: dict[str, Evidence] = {}
    outside = other = 0
    for trial in look.trials:
        told = {name: trial.measurements.get(name, math.nan) for name in wanted} if trial.state == "complete" else None
        if told is not None and not all(map(math.isfinite, told.values())):
            continue
        filled = look.exactly(trial)
        if filled is not None:
            found.setdefault(repr(filled.params), Evidence(trial.number, filled.params, told))
        elif look.found[structure(trial.spec)] is None:
            outside += 1
        else:
            other += 1
    bad = sum(one.measurements is None for one in found.values())
    ended = f", {bad} of them as failed or stopped" if bad else ""
    said = {
        f"the sampler is told of {_counted(len(found))} of it{ended}; they are no trials of this study": found,
        f"{_counted(outside)} of it lie outside this space": outside,
        f"{_counted(other)} of it have a structure of this space, but another length of their run or another sparsity": other,
    }
    return list(found.values()), [sentence for sentence, count in said.items() if count]


def _changed(look: Earlier) -> list[str]:
    """Returns why numbers of the earlier study do not mean the same here, in words."""
    was, study = look.record.provenance, look.space.study
    fingerprint = str(was.get("activations", {}).get("fingerprint"))
    pairs = {
        "activations": (fingerprint[:12], look.setting.fingerprint[:12]),
        "numerics": (was.get("numerics"), NUMERICS),
        "precision": (was.get("precision"), look.setting.precision),
        "objectives": (", ".join(look.record.objectives), ", ".join(study.objectives)),
        "band": (list(look.record.band), list(study.band)),
    }
    own = catalogue().foreign
    pairs |= {
        f"block {kind}": (told["sha256"][:12], own[kind]["sha256"][:12]) for kind, told in was.get("blocks", {}).items() if kind in own
    }
    return [f"{name} {here} -> {there}" for name, (here, there) in pairs.items() if here != there]


def _numbered(trials: Sequence[TrialRecord]) -> str:
    numbers = [str(trial.number) for trial in trials]
    return f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {', '.join(numbers[:-1])} and {numbers[-1]}"


def _counted(count: int) -> str:
    return f"{count} trial{'s' if count != 1 else ''}"
