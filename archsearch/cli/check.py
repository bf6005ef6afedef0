"""`check`: says what is wrong with a space or an SAE spec, and what it would cost."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.activations.preflight import check_activations, check_inputs
from archsearch.assembler.build import assemble
from archsearch.assembler.check import Checked, check_space
from archsearch.assembler.words import in_words
from archsearch.cli.estimate import Estimate, Probe, cost_of_sae, cost_of_space, known_width
from archsearch.cli.inputs import is_space, machine_of, read_spec, recorded_in
from archsearch.errors import InvalidInput, Problem
from archsearch.recipes import names
from archsearch.reporting.live import counted, duration
from archsearch.search.study import baseline_trees
from archsearch.spec.space import Space, is_open
from archsearch.spec.yaml import load, located

WIDTH = 128
"""Width of the activations assumed where nothing says it: the bundled model's."""


def check(args: Namespace) -> int:
    """Checks a file; all problems are told at once, each with its line.

    Raises:
        InvalidInput: whatever is wrong.
    """
    document = load(args.file)
    told, cost = _space(args) if is_space(document.data) else _sae(args)
    if args.json:
        print(json.dumps({**told, **({"estimate": cost.as_dict()} if cost else {})}, indent=1))
        return 0
    console = Console()
    console.print(Text(told["said"]), soft_wrap=True)
    for note in told.get("notes", ()):
        console.print(Text(f"note: {note}"), soft_wrap=True)
    if cost:
        _show(cost, console)
    return 0


def recorded(args: Namespace) -> str:
    """Returns the command line that made the file."""
    return recorded_in(args.file)


def _space(args: Namespace) -> tuple[dict[str, Any], Estimate | None]:
    space = Space.load(args.file)
    model = args.d_model or known_width(space.activations) or WIDTH
    checked = _checked(space, model)
    study = space.study
    holes = [name for name, parameter in space.parameters().items() if is_open(parameter)]
    baselines = ", ".join(space.baselines) or "none"
    swept = [name for name in checked.swept if name]
    said = (
        f"{args.file}: a space; {counted(checked.assembled, 'fill')} assembled. {counted(study.trials, 'trial')}; "
        f"baselines: {baselines}; {counted(len(holes), 'hole')}; swept: {', '.join(swept) or 'nothing'}"
    )
    told = {"file": str(args.file), "holds": "space", "assembled": checked.assembled, "holes": holes, "swept": swept}
    told |= {"notes": list(checked.notes), "said": said}
    machine = machine_of(args.device, args.executor, args.precision)
    return told, cost_of_space(space, machine, args.d_model) if args.estimate else None


def _checked(space: Space, model: int) -> Checked:
    """Checks a space and its activations.

    Raises:
        InvalidInput: everything wrong with either.
    """
    problems: list[Problem] = []
    checked = None
    try:
        checked = check_space(space, model=model, recipes=baseline_trees(space), names=names())
    except InvalidInput as error:
        problems += error.problems
    try:
        check_activations(space.activations, space.source)
    except InvalidInput as error:
        problems += error.problems
    inputs = space.sae.get("inputs", ["x"])
    if isinstance(inputs, list):  # a hole is looked at when it is filled
        problems += located(check_inputs(space.activations, inputs), space.source.marks, space.source.file, "sae")
    if checked is None or problems:
        raise InvalidInput(sorted(problems, key=lambda problem: problem.line or 0))
    return checked


def _sae(args: Namespace) -> tuple[dict[str, Any], Estimate | None]:
    file = read_spec(args.file)
    spec = file.parse(file.data)
    model = args.d_model or WIDTH
    try:
        receipt = assemble(spec, model=model, device="meta").receipt
    except InvalidInput as error:
        raise file.at_lines(error) from None
    words = in_words(spec.model_dump(mode="json", by_alias=True))
    said = f"{args.file}: an SAE, {words}. At model width {model}: {receipt.parameters:,} parameters, {receipt.steps:,} steps"
    told = {"file": str(args.file), "holds": "sae", "words": words, "receipt": receipt.as_dict(), "said": said}
    machine = machine_of(args.device, args.executor, args.precision)
    return told, cost_of_sae(spec, machine, model) if args.estimate else None


def _show(cost: Estimate, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("probe")
    for head in ("parameters", "ms/step", "steps", "one run"):
        table.add_column(head, justify="right", no_wrap=True)
    for probe in cost.probes:
        table.add_row(*_cells(probe))
    console.print("")
    console.print(table)
    console.print("")
    facts = {
        "SAEs": f"{cost.runs}",
        "tokens": f"{cost.run_tokens:,} trained on in all; {cost.harvest_tokens:,} activation rows of width {cost.d_model}",
        "disk": f"{size(cost.disk_bytes)} (activations {size(cost.store_bytes)})",
        "memory": size(cost.memory_bytes),
        "time": f"{duration(cost.seconds)} on this machine ({cost.device}, {cost.executor}, {cost.precision}): {_parts(cost)}",
    }
    for name, text in facts.items():
        console.print(Text(f"{name:<8}{text}"), soft_wrap=True)


def _cells(probe: Probe) -> tuple[Text, ...]:
    texts = (probe.words, f"{probe.parameters:,}", f"{1000 * probe.step_seconds:.2f}", f"{probe.steps:,}", duration(probe.run_seconds))
    return tuple(map(Text, texts))


def _parts(cost: Estimate) -> str:
    together = f" ({cost.abreast} at a time, none stopped early)" if cost.abreast > 1 else ""
    harvest = f"harvest {duration(cost.harvest_seconds)} unless it is in the store, " if cost.harvest_seconds else ""
    return f"{harvest}training {duration(cost.train_seconds)}{together}, measuring {duration(cost.measure_seconds)}"


def size(count: float) -> str:
    """Returns a number of bytes in a few characters."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
