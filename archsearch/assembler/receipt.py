"""The receipt: what was built, in numbers and in the real steps of this run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from archsearch.assembler.graph import Graph, Node
from archsearch.blocks._block import Block
from archsearch.blocks.signals import Signal
from archsearch.errors import AssemblyError, InvalidInput, Problem
from archsearch.spec.hashes import digest, merkle


@dataclass(frozen=True)
class Receipt:
    """What was built.

    `arch`: hash of the architecture; `structure`: hash of what a cohort must share to be stacked; `parameters`: learned numbers (count);
    `flops`: of one row's forward pass; `steps`: optimizer steps of the run; `events`: steps at which something happens, by name;
    `width`: latents; `dense_rank`: rank that bypasses every code, charged to effective L0; `blocks`: resolved blocks by label.
    """

    arch: str
    structure: str
    parameters: int
    flops: int
    steps: int
    events: dict[str, list[int]]
    width: int
    dense_rank: int
    blocks: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Returns the receipt as plain data."""
        return asdict(self)


def write_receipt(spec: Any, graph: Graph, sae: Any, revival: Block | None) -> Receipt:
    """Returns the receipt of an assembled SAE.

    Raises:
        AssemblyError: a setting or an event that cannot act in a run of this length.
    """
    training = spec.training
    steps = training.tokens // training.batch
    if steps < 1:
        what = f"a run needs at least one batch: tokens={training.tokens!r} is less than batch={training.batch!r}"
        raise AssemblyError([Problem(what, "training.tokens")])
    events = _events(spec, graph, steps, revival)
    nodes = {label: _plain(node) for label, node in graph.nodes.items()}
    losses = [f"{label}.{name}" for label, node in graph.nodes.items() for name, info in node.outputs.items() if info.type is Signal.LOSS]
    arch = merkle(nodes, graph.outputs, losses)
    return Receipt(
        arch=digest({"graph": arch, "scale": _settings(spec.scale)}),
        structure=_structure(spec, graph, sae),
        parameters=sum(parameter.numel() for parameter in sae.parameters()),
        flops=sum(node.item.block.flops(node.spec, node.sizes) for node in graph.nodes.values()),
        steps=steps,
        events=events,
        width=graph.width,
        dense_rank=graph.dense_rank,
        blocks=nodes,
    )


def _events(spec: Any, graph: Graph, steps: int, revival: Any) -> dict[str, list[int]]:
    """Turns shares of the run into steps, refusing those that come to nothing."""
    problems = _too_long(spec, graph, steps)
    events: dict[str, list[int]] = {}
    shares = {f"losses.{label}.warmup_frac": loss.warmup_frac for label, loss in spec.losses.items()}
    schedule = spec.training.schedule
    shares |= {f"training.schedule.{name}": getattr(schedule, name) for name in type(schedule).model_fields if name.endswith("_frac")}
    for path, share in shares.items():
        if share > 0 and round(share * steps) < 1:
            problems.append(Problem(f"{share!r} of {steps} steps is less than one step: it cannot act", path))
        elif share > 0:
            events[path] = [round(share * steps)]
    if revival is not None:
        try:
            events["revival"] = revival.steps(steps, spec.training.batch)
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise AssemblyError(problems)
    return events


def _too_long(spec: Any, graph: Graph, steps: int) -> list[Problem | str]:
    """Finds lengths in tokens (`*_tokens`) that are not over before the run's last step."""
    placed = {node.item.path: node.spec for node in graph.nodes.values()}
    placed |= {"training.optimizer": spec.training.optimizer, "training.schedule": spec.training.schedule, "init": spec.init}
    placed |= {"revival": spec.revival} if spec.revival else {}
    longest = (steps - 1) * spec.training.batch
    found: list[Problem | str] = []
    for path, block in placed.items():
        for name in type(block).model_fields:
            value = getattr(block, name)
            if name.endswith("_tokens") and value is not None and value > longest:
                what = f"{value!r} tokens are not over before the last step of this run (after {longest} tokens): it cannot act"
                found.append(Problem(what, f"{path}.{name}"))
    return found


def _settings(spec: Any) -> dict[str, Any]:
    written = spec.model_dump(by_alias=True, exclude_defaults=True, exclude={"from_", "of"})
    return {**written, "kind": spec.kind}


def _plain(node: Node) -> dict[str, Any]:
    settings = _settings(node.spec)
    kind = settings.pop("kind")
    if node.slot == "encoder":
        settings["width"] = node.sizes.latent
    inputs = {port: [(wire.signal, wire.detach) for wire in wires] for port, wires in node.wires.items()}
    return {"kind": kind, "settings": settings, "inputs": inputs}


def _structure(spec: Any, graph: Graph, sae: Any) -> str:
    """Hashes everything but the settings members of a stacked group may differ in."""
    blocks = {}
    for label, node in graph.nodes.items():
        free = set(sae.block(label).settings)
        plain = _plain(node)
        plain["settings"] = {name: value for name, value in plain["settings"].items() if name not in free}
        blocks[label] = plain
    training = spec.training
    shared = {"tokens": training.tokens, "batch": training.batch, "clip": training.clip_norm is not None, "optimizer": training.optimizer.kind}
    shared |= {"schedule": training.schedule.kind, "outputs": graph.outputs, "width": spec.width, "scale": _settings(spec.scale)}
    return digest({"blocks": blocks, **shared})
