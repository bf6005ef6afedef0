"""`train`: trains one SAE from a spec, measures it, and writes it down."""

from __future__ import annotations

import json
from argparse import Namespace
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
from archsearch.errors import ArchsearchError, InvalidInput
from archsearch.evaluation.metrics import evaluate
from archsearch.reporting.front import plain
from archsearch.reporting.live import duration, watch
from archsearch.reporting.results import write_json, write_whole
from archsearch.search.jobs import Setting, run_hash
from archsearch.search.provenance import provenance
from archsearch.search.records import Status
from archsearch.spec.inputs import bound, stands_for
from archsearch.training.loop import train as train_members
from archsearch.training.member import Member, start
from archsearch.training.memory import keep_memory

OUT = Path("trained")
RESULT = "measurements.json"

SHOWN = (
    ("l0", "effective L0", "lower is sparser"),
    ("fvu", "FVU", "lower is better"),
    ("ce_recovered", "CE recovered", "1 is best"),
    ("dead_frac", "dead fraction", "lower is better"),
    ("cosine", "cosine", "higher is better"),
    ("gamma", "gamma", "1: no shrinkage"),
    ("parameters", "parameters", ""),
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
    activations = open_with_progress(read_activations(args.activations), machine.device)
    inputs = stands_for(data.get("inputs"), activations.names)
    spec = file.parse(bound(data, activations.names))
    member = _started(file, spec, activations, machine)
    run = run_hash(spec, member.assembly, Setting(activations.d_model, activations.fingerprint, machine.precision))
    _prepare(folder, run)
    _run(member, machine)
    found = _measured(member, activations)
    words = in_words(spec.model_dump(mode="json", by_alias=True))
    told = {"words": words, "run": run, "folder": str(folder), "inputs": inputs, "measurements": plain(found), "remark": member.remark}
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
