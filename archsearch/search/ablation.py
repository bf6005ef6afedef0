"""What each choice of an SAE is worth to it: one choice at a time is put back, and each SAE that comes of it is trained at the same L0s."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from archsearch.activations.data import Activations
from archsearch.assembler.parse import parse
from archsearch.errors import InvalidInput, Problem, StudyError
from archsearch.search.choices import Change, changes_of
from archsearch.search.comparison import Comparison, Plan, Written, plan, run
from archsearch.search.contenders import fresh_seeds
from archsearch.search.records import StudyRecord, TrialRecord
from archsearch.search.replicates import Replicates
from archsearch.spec.space import TARGET

Document = dict[str, Any]

HALF = math.sqrt(2)
"""The SAEs are compared from an L0 this factor below the trial's to as far above it: an octave."""

WIDE = 1.9
"""Least width of that octave, as a factor of L0, before it is moved."""


@dataclass(frozen=True)
class Ablation:
    """What is to be trained.

    `changes`: what can be put back; `skipped`: what cannot, each with the reason; `reference`: what choices are put back to; `notes`: what
    a reader must know, a sentence each.
    """

    trial: TrialRecord
    reference: str
    changes: tuple[Change, ...]
    skipped: tuple[Change, ...]
    plan: Plan
    notes: tuple[str, ...] = ()


def chosen(record: StudyRecord, number: int) -> TrialRecord:
    """Returns the trial whose choices are put back.

    Raises:
        InvalidInput: there is none of that number, it has not finished, or it is a baseline.
    """
    found = next((trial for trial in record.trials if trial.number == number), None)
    if found is None or found.state != "complete":
        state = "which is not there" if found is None else f"which is {found.state}"
        last = max((trial.number for trial in record.trials if trial.state == "complete" and not trial.baseline), default=None)
        raise InvalidInput([f"--trial must name a finished trial (the last is {last}); got {number}, {state}"])
    if found.baseline:
        raise InvalidInput([f"--trial must name a trial of the search; {number} is the baseline {found.baseline}, which made no choice"])
    if not found.measurements.get("l0", 0.0) > 0:
        raise InvalidInput([f"--trial must name a trial with an effective L0 above 0; {number} has {found.measurements.get('l0')}"])
    return found


def ablation(
    record: StudyRecord,
    trial: TrialRecord,
    replicates: Replicates,
    seeds: int,
    wanted: Sequence[float] = (),
    by_settings: bool = False,
) -> Ablation:
    """Returns what an ablation trains, everything assembled and nothing trained.

    Raises:
        InvalidInput: the trial itself cannot be brought to the L0s.
        StudyError: no choice of it can be put back.
    """
    reference, changes, notes = changes_of(record, trial, replicates.activations.d_model, by_settings)
    levels = tuple(wanted) or around(trial)
    own = Written(f"trial {trial.number}", f"trial {trial.number}", _open(trial.spec), parse, lambda error: error)
    refused = plan([own], levels, 1, {}).entries[0].why if wanted else ""
    if refused:
        raise InvalidInput([f"trial {trial.number} cannot be brought to L0 {', '.join(f'{level:g}' for level in levels)}: {refused}"])
    known = {_runs(plan([own], levels, 1, {}), replicates): "the trial itself"}
    kept, skipped = list[Change](), list[Change]()
    for change in changes:
        why = change.why or _trainable(change, own, levels, replicates, known)
        (skipped if why else kept).append(replace(change, why=why))
    if not kept:
        told = "; ".join(f"{change.name}: {change.why}" for change in skipped)
        raise StudyError(f"trial {trial.number}: no choice of it can be put back ({told or f'it is as {reference} in every choice'})")
    planned = plan([own, *[_written(change) for change in kept]], levels, seeds, {})
    planned = replace(planned, seeds=tuple(fresh_seeds(record, seeds)))
    return Ablation(trial, reference, tuple(kept), tuple(skipped), planned, tuple(notes))


def carried_out(found: Ablation, replicates: Replicates) -> Comparison:
    """Trains what is not there yet and judges every change against the trial.

    Raises:
        Interrupted: the user stopped it.
    """
    return run(found.plan, replicates)


def same_activations(record: StudyRecord, activations: Activations) -> None:
    """Refuses activations other than the study's.

    Raises:
        StudyError: they have changed since.
    """
    was = record.provenance.get("activations", {}).get("fingerprint")
    if was != activations.fingerprint:
        told = f"fingerprint {str(was)[:12]} -> {activations.fingerprint[:12]}"
        raise StudyError(f"{record.name}: the activations have changed since the study, {told}; put the old ones back")


def around(trial: TrialRecord) -> tuple[float, ...]:
    """Returns the L0s an SAE is compared between where nobody names any: the octave around its own, within its latents."""
    l0, most = trial.measurements["l0"], float(trial.spec["width"])
    low, high = max(l0 / HALF, 1.0), min(l0 * HALF, most)
    if high < WIDE * low:  # at an end of what can be: one latent a row, or all of them
        high = min(2 * low, most)
        low = high / 2
    ends = float(round(low)), float(round(high))
    return ends if 0 < ends[0] < ends[1] else (low, high)


def _open(spec: Document) -> Document:
    return {key: value for key, value in spec.items() if key != TARGET}


def _written(change: Change) -> Written:
    def at_lines(error: InvalidInput) -> InvalidInput:
        return InvalidInput([Problem(problem.what, problem.path, change.name) for problem in error.problems])

    return Written(change.name, change.choice, _open(change.document or {}), parse, at_lines)


def _runs(planned: Plan, replicates: Replicates) -> frozenset[str]:
    entry = planned.entries[-1]
    return frozenset(replicates.planned(entry.name, entry.at(level, 0)).run for level in entry.levels)


def _trainable(change: Change, own: Written, levels: Sequence[float], replicates: Replicates, known: dict[frozenset[str], str]) -> str:
    """Returns why a change cannot be trained beside the trial, empty where it can; `known`: runs that there are, with their names."""
    try:
        runs = _runs(plan([own, _written(change)], levels, 1, {}), replicates)
    except InvalidInput as error:
        return "; ".join(f"{problem.path}: {problem.what}" if problem.path else problem.what for problem in error.problems)
    if runs in known:
        return f"it makes the same SAE as {known[runs]}"
    known[runs] = change.name
    return ""
