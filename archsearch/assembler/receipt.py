"""The receipt: what was built, in numbers and in the real steps of this run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from archsearch.assembler.graph import Graph, settings_of
from archsearch.blocks._block import Block
from archsearch.blocks.controllers._base import Controller
from archsearch.blocks.optimizers._base import Optimizer
from archsearch.blocks.revivals._base import Revival
from archsearch.blocks.schedules._base import Schedule
from archsearch.errors import AssemblyError, InvalidInput, Problem
from archsearch.spec.hashes import digest, merkle


@dataclass(frozen=True)
class Receipt:
    """What was built.

    `arch`: hash of the architecture; `structure`: hash of what a cohort must share to be stacked; `parameters`: learned numbers (count);
    `flops`: of one row's forward pass; `steps`: optimizer steps of the run; `events`: steps at which something happens, by name;
    `settled_frac`: share of the run after which nothing is ramped any more; `width`: latents; `dense_rank`: rank that bypasses every
    code, charged to effective L0; `blocks`: resolved blocks by label.
    """

    arch: str
    structure: str
    parameters: int
    flops: int
    steps: int
    events: dict[str, list[int]]
    settled_frac: float
    width: int
    dense_rank: int
    blocks: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Returns the receipt as plain data."""
        return asdict(self)


def write_receipt(spec: Any, graph: Graph, sae: Any, revival: Revival | None, rules: tuple[Optimizer, Schedule]) -> Receipt:
    """Returns the receipt of an assembled SAE.

    `rules`: what moves its parameters between steps.

    Raises:
        AssemblyError: a setting or an event that cannot act in a run of this length.
    """
    training = spec.training
    steps = training.tokens // training.batch
    if steps < 1:
        what = f"a run needs at least one batch: tokens={training.tokens!r} is less than batch={training.batch!r}"
        raise AssemblyError([Problem(what, "training.tokens")])
    events = _events(spec, graph, steps, revival, sae.controller)
    nodes = {label: node.plain() for label, node in graph.nodes.items()}
    arch = merkle(nodes, graph.outputs, graph.losses)
    return Receipt(
        arch=digest({"graph": arch, "scale": settings_of(spec.scale)}),
        structure=_structure(spec, graph, sae, rules),
        parameters=sum(parameter.numel() for parameter in sae.parameters()),
        flops=sum(node.item.block.flops(node.spec, node.sizes) for node in graph.nodes.values()),
        steps=steps,
        events=events,
        settled_frac=_settled(spec, graph, revival, sae.controller),
        width=graph.width,
        dense_rank=graph.dense_rank,
        blocks=nodes,
    )


def _events(spec: Any, graph: Graph, steps: int, revival: Revival | None, controller: Controller | None) -> dict[str, list[int]]:
    """Turns shares of the run (`*_frac`) and lengths in tokens into steps, refusing those that cannot act."""
    problems: list[Problem | str] = []
    events: dict[str, list[int]] = {}
    last = (steps - 1) * spec.training.batch
    for path, value in _lengths(spec, graph):
        if path.endswith("_frac") and value > 0 and round(value * steps) < 1:
            problems.append(Problem(f"{value!r} of {steps} steps is less than one step: it cannot act", path))
        elif path.endswith("_tokens") and value > last:
            what = f"{value!r} tokens are not over before the last step of this run (after {last} tokens): it cannot act"
            problems.append(Problem(what, path))
        elif value > 0:
            events[path] = [round(value * steps) if path.endswith("_frac") else -(-value // spec.training.batch)]
    try:
        if revival is not None:
            events["revival"] = revival.steps(steps, spec.training.batch)
        if controller is not None:
            events["controller"] = controller.steps(steps)
    except InvalidInput as error:
        problems += error.problems
    if problems:
        raise AssemblyError(problems)
    return events


def _settled(spec: Any, graph: Graph, revival: Revival | None, controller: Controller | None) -> float:
    """Returns the share of the run after which no block moves anything over the run any more."""
    found = [node.item.block.settled_frac(node.spec) for node in graph.nodes.values()]
    if revival is not None:
        found.append(revival.settled_frac(spec.revival))
    if controller is not None:
        found.append(controller.settled_frac(spec.controller))
    return max(found, default=0.0)


def _lengths(spec: Any, graph: Graph) -> list[tuple[str, Any]]:
    """Lists every single length of every block, with its path."""
    placed = {node.item.path: node.spec for node in graph.nodes.values()}
    placed |= {"training.optimizer": spec.training.optimizer, "training.schedule": spec.training.schedule, "init": spec.init}
    placed |= {name: getattr(spec, name) for name in ("revival", "controller") if getattr(spec, name) is not None}
    found = [(f"{path}.{name}", getattr(block, name)) for path, block in placed.items() for name in type(block).model_fields]
    return [(path, value) for path, value in found if path.endswith(("_frac", "_tokens")) and isinstance(value, (int, float))]


def _structure(spec: Any, graph: Graph, sae: Any, rules: tuple[Optimizer, Schedule]) -> str:
    """Hashes everything but the settings members of a stacked group may differ in."""
    blocks = {}
    for label, node in graph.nodes.items():
        plain = node.plain()
        blocks[label] = {**plain, "settings": _static(plain["settings"], sae.block(label))}
    training = spec.training
    optimizer, schedule = rules
    shared = {
        "tokens": training.tokens,
        "batch": training.batch,
        "clip": training.clip_norm is not None,
        "optimizer": _static(settings_of(training.optimizer), optimizer),
        "schedule": _static(settings_of(training.schedule), schedule),
    }
    if spec.controller is not None:
        shared["controller"] = _static(settings_of(spec.controller), sae.controller)
    if spec.calibration is not None:
        shared["calibration"] = True  # buffers the others lack; how they are filled is no part of the program
    shared |= {"outputs": graph.outputs, "width": spec.width, "scale": settings_of(spec.scale)}
    return digest({"blocks": blocks, **shared})


def _static(settings: dict[str, Any], block: Block) -> dict[str, Any]:
    """Returns the settings of a block that make its program what it is: those its members may not differ in."""
    kept = {name: value for name, value in settings.items() if name not in block.settings}
    # A setting that is there in one member only (a ramp that another does without) is another program.
    return {"static": kept, "free": sorted(block.settings)}
