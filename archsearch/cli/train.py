"""`train`: trains one SAE from a spec, measures it, and writes it down."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from safetensors.torch import save_file

from archsearch.activations.data import Activations
from archsearch.assembler.resolved import resolved
from archsearch.assembler.words import in_words
from archsearch.cli.harvest import open_with_progress
from archsearch.cli.inputs import Machine, SpecFile, machine_of, output_folder, read_activations, read_spec, recorded_in
from archsearch.errors import ArchsearchError, DataError, InvalidInput
from archsearch.evaluation.metrics import evaluate
from archsearch.evaluation.pursuit import amortisation
from archsearch.evaluation.recovery import recovery_of
from archsearch.reporting.front import plain
from archsearch.reporting.live import duration, watch
from archsearch.reporting.results import write_json, write_whole
from archsearch.search.jobs import Setting, run_hash
from archsearch.search.provenance import provenance
from archsearch.search.records import Status
from archsearch.spec.activations import SyntheticSource
from archsearch.spec.inputs import bound, stands_for
from archsearch.training.loop import train as train_members
from archsearch.training.member import Member, start
from archsearch.training.memory import keep_memory

OUT = Path("trained")
RESULT = "measurements.json"
GAP = ("pursuit_fvu", "refit_fvu", "gap", "values_gap", "support_gap", "pursuit_flops")
PURSUED = 4096
"""Validate rows gradient pursuit is taken of, which is slow."""

SHOWN = (
    ("l0", "effective L0", "lower is sparser"),
    ("fvu", "FVU", "lower is better"),
    ("ce_recovered", "CE recovered", "1 is best"),
    ("dead_frac", "dead fraction", "lower is better"),
    ("cosine", "cosine", "higher is better"),
    ("gamma", "gamma", "1: no shrinkage"),
    ("mcc", "MCC with planted features", "higher is better"),
    ("f1", "F1 of planted features", "higher is better"),
    ("absorption", "absorption", "lower is better"),
    ("pursuit_fvu", "FVU of pursuit", "same dictionary and L0"),
    ("gap", "gap to pursuit, in log FVU", "lower is better"),
    ("values_gap", "of it values", ""),
    ("support_gap", "of it which latents", ""),
    ("parameters", "parameters", ""),
    ("flops", "FLOPs of a row", "forward pass"),
    ("seconds", "training seconds", ""),
)


def train(args: Namespace) -> int:
    """Trains one SAE and measures it on held-out rows.

    Raises:
        ArchsearchError: training diverged, or the output folder holds another run.
    """
    file = read_spec(args.spec)
    data = _changed(file, args)
    file.parse(data)  # before the activations are opened, which may take long
    machine = machine_of(args.device, args.executor, args.precision)
    folder = output_folder(args.out or OUT / args.spec.stem)
    source = read_activations(args.activations)
    activations = open_with_progress(source, machine.device)
    inputs = stands_for(data.get("inputs"), activations.names)
    spec = file.parse(bound(data, activations.names))
    member = _started(file, spec, activations, machine)
    run = run_hash(spec, member.assembly, Setting(activations.d_model, activations.fingerprint, machine.precision))
    _prepare(folder, run)
    _run(member, machine)
    more, notes = _beyond(member, activations, source, args.pursuit)
    found, remark = _measured(member, activations) | more, "; ".join(filter(None, [member.remark, *notes]))
    words = in_words(spec.model_dump(mode="json", by_alias=True))
    told = {"words": words, "run": run, "folder": str(folder), "inputs": inputs, "measurements": plain(found), "remark": remark}
    where = provenance(activations, machine.device, machine.precision, machine.executor.name)
    _write(folder, member, spec, {**told, "history": member.history, "events": member.events, "provenance": where})
    if args.json:
        print(json.dumps(told, indent=1))
    else:
        _show(told, found)
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the spec's file."""
    return recorded_in(args.spec)


def _changed(file: SpecFile, args: Namespace) -> dict[str, Any]:
    """Returns the spec as plain data with what the command line says put in the place of what the file says."""
    data = deepcopy(file.data)
    given = {name: value for name, value in (("tokens", args.tokens), ("seed", args.seed)) if value is not None}
    training = data.get("training", {})
    if given and isinstance(training, dict):
        data["training"] = {**training, **given}
    return data


def _started(file: SpecFile, spec: Any, activations: Activations, machine: Machine) -> Member:
    keep_memory()
    rows = {name: activations.split(name) for name in ("train", "calibrate")}
    try:
        placed = {"device": machine.device, "precision": machine.precision}
        return start(spec, rows["train"], rows["calibrate"], **placed, windows=activations.windows)
    except InvalidInput as error:
        raise file.at_lines(error) from None


def _prepare(folder: Path, run: str) -> None:
    """Makes the output folder before any time is spent on training; one that holds another run is left alone.

    Raises:
        ArchsearchError: the folder holds another run.
    """
    path = folder / RESULT
    other = json.loads(path.read_text(encoding="utf-8")).get("run") if path.exists() else run
    if other != run:
        raise ArchsearchError(f"{folder}: holds another run ({other}); choose another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)


def _run(member: Member, machine: Machine) -> None:
    """Trains to the end, telling how far it is on the standard error stream.

    Raises:
        ArchsearchError: training diverged.
    """
    total, done = member.total_steps * member.batches.batch, 0
    with watch(Console(stderr=True)) as observe:

        def tick(count: int) -> None:
            nonlocal done
            done += count
            speed = done / member.seconds if member.seconds else 0.0
            observe(Status("training", 0, 0, done / total, speed, (total - done) / speed if speed else None))

        train_members([member], machine.executor, tick=tick)
    if member.failure is not None:
        raise ArchsearchError(f"training failed: {member.failure}")


def _measured(member: Member, activations: Activations) -> dict[str, float]:
    receipt = member.assembly.receipt
    found = evaluate(member.sae, activations.split("validate")).as_dict()
    found |= {"parameters": receipt.parameters, "flops": receipt.flops, "seconds": round(member.seconds, 3)}
    splicer = activations.splicer("validate")
    if splicer is not None:
        spliced = splicer.cross_entropy(member.sae.reconstruct)
        found |= {"ce_recovered": spliced.recovered, "ce": spliced.spliced, "ce_clean": spliced.clean}
    return found


def _beyond(member: Member, activations: Activations, source: Any, pursuit: bool) -> tuple[dict[str, float], list[str]]:
    """Returns what only some sources, or who asks for it, can be told, and why something could not be measured.

    That is how much of planted features was found, and the gap to gradient pursuit.
    """
    asked: list[Callable[[], dict[str, float]]] = []
    if isinstance(source, SyntheticSource):
        asked.append(lambda: {name: value for name, value in recovery_of(member.sae, source).as_dict().items() if name != "rows"})
    if pursuit:
        rows = {name: values[:PURSUED] for name, values in activations.split("validate").items()}
        asked.append(lambda: {name: value for name, value in amortisation(member.sae, rows).as_dict().items() if name in GAP})
    found: dict[str, float] = {}
    notes: list[str] = []
    for measure in asked:
        try:
            found |= measure()
        except DataError as error:  # such as a decoder that is no sum of rows: the SAE is trained, and worth keeping
            notes.append(str(error))
    return {name: value for name, value in found.items() if math.isfinite(value)}, notes


def _write(folder: Path, member: Member, spec: Any, told: dict[str, Any]) -> None:
    """Writes weights, spec, receipt and measurements, each whole or not at all."""
    weights = {name: value.detach().cpu().contiguous() for name, value in member.sae.state_dict().items()}
    write_whole(folder / "sae.safetensors", lambda partial: save_file(weights, partial))
    write_json(folder / "spec.json", resolved(member.assembly))
    write_json(folder / "receipt.json", plain(member.assembly.receipt.as_dict()))
    write_json(folder / RESULT, plain(told))


def _show(told: dict[str, Any], found: dict[str, float]) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, head, direction in SHOWN:
        if name in found:
            value = found[name]
            text = f"{value:,}" if isinstance(value, int) else duration(value) if name == "seconds" else f"{value:.4f}"
            table.add_row(head, Text(text, justify="right"), Text(direction, style="dim"))
    console.print(Text(told["words"], style="bold"), soft_wrap=True)
    console.print(table)
    renamed = ", ".join(f"{name} is {own}" for name, own in told["inputs"].items() if name != own)
    if renamed:
        console.print(Text(f"inputs, in the order of the hook points: {renamed}"), soft_wrap=True)
    if told["remark"]:
        console.print(Text(told["remark"]), soft_wrap=True)
    console.print(Text(f"{told['folder']}: sae.safetensors, spec.json, receipt.json, measurements.json"), soft_wrap=True)
