"""`status` and `export`: read a study, change nothing in it."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from archsearch.cli.folding import fold_trials
from archsearch.cli.inputs import output_folder, study_folder
from archsearch.errors import InvalidInput, StudyError
from archsearch.reporting.front import FrontRow, entry, front_json, front_rows, plain
from archsearch.reporting.live import counted, duration, line
from archsearch.reporting.progress import progress_of
from archsearch.reporting.report.volume import volumes
from archsearch.reporting.results import write_json
from archsearch.reporting.table import print_front, remarks, tally
from archsearch.search.ledger import read_study
from archsearch.search.records import StudyRecord, TrialRecord, standing, whole_front

try:
    import fcntl
except ImportError:  # not a POSIX system: no lock to be had
    fcntl = None

FORMAT = "archsearch-specs-1"

MOST_RUNNING = 8
"""Running trials that are told one by one."""


def status(args: Namespace) -> int:
    """Prints where a study stands, and its front."""
    folder = study_folder(args.study)
    record = read_study(folder)
    if args.json:
        print(json.dumps(_as_json(record, folder), indent=1))
        return 0
    console = Console()
    running = [trial for trial in record.trials if trial.state == "running"]
    ended = [trial for trial in record.trials if trial.state != "running"]
    stopped = bool(running) and not held(folder)
    state = "not running: resume with" if stopped else "not ended; resume with"
    told = progress_of(folder) if running and held(folder) else None
    spent = record.seconds + (told.spent_seconds if told else 0.0)
    lines = [
        f"{record.name}: {record.question}" if record.question else record.name,
        f"{len(ended)}/{counted(record.planned, 'trial')} ({tally(record)}), {duration(spent)} so far",
        f"ended: {record.stopped}" if record.stopped else f"{state}: {record.command}",
        *([f"now: {line(told.status)} ({duration(told.age_seconds)} ago)"] if told else []),
        *[f"running: trial {trial.number}, {trial.words}" for trial in running[:MOST_RUNNING]],
        *([f"running: {len(running) - MOST_RUNNING} more"] if len(running) > MOST_RUNNING else []),
        *_volume(record),
        *[f"trial {trial.number} failed: {trial.message}" for trial in record.trials if trial.state == "failed"][:5],
    ]
    for text in lines:
        console.print(Text(text), soft_wrap=True)
    print_front(record, console)
    for text in remarks(record):
        console.print(Text(text), soft_wrap=True)
    return 0


def _as_json(record: StudyRecord, folder: Path) -> dict[str, Any]:
    """Returns all that is known of a study's standing, plain JSON values only; `now` is None where nobody is running it."""
    said = {state: {str(t.number): t.message for t in record.trials if t.state == state and t.message} for state in ("failed", "complete")}
    told, found = progress_of(folder) if held(folder) else None, volumes(record)
    volume = {"reached": found.reached[-1] if found.reached else None, "baselines": found.baselines}
    running = [trial.number for trial in record.trials if trial.state == "running"]
    standing = {"running": running, "hypervolume": volume, "now": told.as_dict() if told else None}
    return {**front_json(record), "failed": said["failed"], "remarks": said["complete"], "refused": record.refused, **plain(standing)}


def _volume(record: StudyRecord) -> list[str]:
    """Returns a line on the hypervolume reached so far, none before the first trial has finished inside the band."""
    found = volumes(record)
    if not found.reached or not found.reached[-1]:
        return []
    alone = "" if found.baselines is None else f" (baselines alone: {found.baselines:.3f})"
    return [f"hypervolume {found.reached[-1]:.3f} octaves of L0 times FVU{alone}"]


def export(args: Namespace) -> int:
    """Writes chosen specs of a study to one file, and folded SAEs if they are asked for."""
    check_out(args.out)
    into = output_folder(args.fold) if args.fold else None
    record = read_study(study_folder(args.study))
    chosen = chosen_trials(record, args.best, args.trial, args.band, args.cut)
    data = {"format": FORMAT, "study": record.name, "question": record.question, "command": record.command}
    specs = [entry(trial) for trial in chosen]
    folded = fold_trials(chosen, study_folder(args.study), into) if into else []
    write_json(Path(args.out), plain({**data, "provenance": record.provenance, "specs": specs}))
    for trial in chosen:
        print(f"trial {trial.label}: {trial.words}, L0 {trial.measurements['l0']:.1f}, FVU {trial.measurements['fvu']:.4f}")
    for path in folded:
        print(f"{path}: spec.json, sae.safetensors")
    print(f"{args.out}: {counted(len(chosen), 'spec')}; train with `archsearch train --spec {args.out}`")
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the study."""
    return read_study(study_folder(args.study)).command


def check_out(path: Path) -> None:
    """Refuses a file that cannot be there.

    Raises:
        InvalidInput: it is a folder, or there is none to put it in.
    """
    if path.is_dir():
        raise InvalidInput([f"--out must be a file; {str(path)!r} is a folder"])
    if not path.parent.is_dir():
        raise InvalidInput(
            [f"--out must be a file in a folder that exists; got {str(path)!r}, and there is no folder {str(path.parent)!r}"]
        )


def held(folder: Path) -> bool:
    """Tells whether a process is running the study in `folder`, by the lock it holds; where there are no locks, nobody is."""
    path = folder / ".lock"
    if fcntl is None or not path.is_file():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def chosen_trials(
    record: StudyRecord, best: int | None = None, trial: int | None = None, band: list[float] | None = None, cut: float | None = None
) -> list[TrialRecord]:
    """Returns the trials and points an export asks for; the best one where it asks for none.

    Raises:
        InvalidInput: no finished trial has that number or that point, or the band is none.
        StudyError: nothing on the front is meant.
    """
    by_number = {one.number: one for one in record.trials}
    if cut is not None and trial is None:
        raise InvalidInput([f"--cut says which point of a trial is meant; name the trial too (--trial N --cut {cut:g})"])
    if trial is not None:
        found = by_number.get(trial)
        if found is None or found.state != "complete":
            state = "which is not there" if found is None else f"which is {found.state}"
            last = max((one.number for one in record.trials if one.state == "complete"), default=None)
            raise InvalidInput([f"--trial must name a finished trial (the last is {last}); got {trial}, {state}"])
        return [found if cut is None else _point(found, cut)]
    if band is not None:
        if not 0 < band[0] <= band[1]:
            raise InvalidInput([f"--band must be LO HI with 0 < LO <= HI; got {band[0]:g} {band[1]:g}"])
        whole = whole_front(record.trials, record.band, record.objectives)
        members = [one for one in whole if band[0] <= one.measurements["l0"] <= band[1]]
        if not members:
            raise StudyError(f"no front member has an effective L0 from {band[0]:g} to {band[1]:g}; see `archsearch status`")
        return members
    rows = sorted(front_rows(record), key=_merit)
    if not rows:
        raise StudyError(f"{record.name}: the front is empty ({tally(record)})")
    by_label = {one.label: one for one in standing(record.trials)}
    return [by_label[row.label] for row in rows[: best or 1]]


def _point(trial: TrialRecord, l0: float) -> TrialRecord:
    """Returns the point of a trial that is cut to an L0.

    Raises:
        InvalidInput: it has none.
    """
    points = [one for one in standing([trial]) if one.cut_to is not None]
    for one in points:
        if one.cut_to == l0:
            return one
    valid = ", ".join(f"{one.cut_to:g}" for one in points) or "it has none"
    raise InvalidInput([f"--cut must be an L0 that trial {trial.number} was cut to ({valid}); got {l0:g}"])


def _merit(row: FrontRow) -> tuple[float, float]:
    """Orders front members: furthest below the best baseline at their L0 first, those beyond every baseline last."""
    return (row.versus.percent if row.versus else math.inf, row.l0)
