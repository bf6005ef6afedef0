"""`ablate`: puts the choices of one trial back, one at a time, and says what each was worth."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.text import Text

from archsearch.cli.harvest import open_with_progress
from archsearch.cli.inputs import machine_of, study_folder
from archsearch.reporting.ablation import ablation_json, markdown, print_ablation
from archsearch.reporting.live import watch
from archsearch.reporting.results import write_json, write_whole
from archsearch.search.ablation import Ablation, ablation, carried_out, chosen, same_activations
from archsearch.search.comparison import Comparison
from archsearch.search.ledger import read_study
from archsearch.search.lock import only_one
from archsearch.search.provenance import provenance
from archsearch.search.records import StudyRecord
from archsearch.search.replicates import Replicates
from archsearch.spec.activations import ActivationsSpec
from archsearch.training.memory import keep_memory

RESULT = "ablation.json"

BUSY = "another process is at this ablation; wait for it"


def ablate(args: Namespace) -> int:
    """Trains a trial and its ablations on fresh seeds, writes what came out to `STUDY/ablate-N/` and prints it.

    Raises:
        InvalidInput: the trial is none that can be ablated.
        StudyError: nothing can be put back, the activations have changed, or another process is at work in the folder.
        Interrupted: the user stopped it; the same command goes on.
    """
    study = study_folder(args.study)
    record = read_study(study)
    trial = chosen(record, args.trial)
    own = record.provenance.get("precision", "auto")
    machine = machine_of(args.device, args.executor, own if args.precision == "auto" else args.precision)
    source = TypeAdapter(ActivationsSpec).validate_python(record.space.get("activations", {"source": "bundled"}))
    activations = open_with_progress(source, machine.device)
    same_activations(record, activations)
    keep_memory()
    folder = study / f"ablate-{trial.number}"
    path = folder / "runs.jsonl"
    replicates = Replicates(path, activations, machine.device, machine.executor, machine.precision)
    found = ablation(record, trial, replicates, args.seeds, args.l0 or (), args.settings)
    folder.mkdir(exist_ok=True)
    where = provenance(activations, machine.device, machine.precision, machine.executor.name)
    with only_one(folder, BUSY), watch(Console(stderr=True)) as observe:
        replicates.observe = observe
        measured = carried_out(found, replicates)
        told = _write(found, measured, record, where, folder)
    if args.json:
        print(json.dumps(told, indent=1))
        return 0
    console = Console()
    print_ablation(told, [change.name for change in found.changes], console)
    console.print(Text(f"{folder}: {RESULT}, ablation.md, {path.name}"), soft_wrap=True)
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the study."""
    return read_study(study_folder(args.study)).command


def _write(found: Ablation, measured: Comparison, record: StudyRecord, where: dict[str, Any], folder: Path) -> dict[str, Any]:
    told = ablation_json(found, measured, record.name, shlex.join(["archsearch", *sys.argv[1:]]), where)
    text = markdown(told, [change.name for change in found.changes])
    write_json(folder / RESULT, told)
    write_whole(folder / "ablation.md", lambda partial: partial.write_text(text, encoding="utf-8"))
    return told
