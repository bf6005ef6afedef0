"""The assembler: wires a spec, checks it, and builds the module."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from archsearch.assembler.checks import check_outputs, check_reads, check_trained, infer
from archsearch.assembler.dictionaries import find_dictionaries, flow_owner
from archsearch.assembler.graph import Dictionary, Graph, Node, ResolvedWire
from archsearch.assembler.parse import parse
from archsearch.assembler.receipt import Receipt, write_receipt
from archsearch.assembler.sae import SAE
from archsearch.assembler.scopes import Item, Scope, lay_out
from archsearch.assembler.wiring import Names, borrowed, by_dictionary, by_position, explicit
from archsearch.blocks._block import Block
from archsearch.blocks.calibrations._base import Calibration
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.blocks.controllers._base import Controller
from archsearch.blocks.inits._base import Init
from archsearch.blocks.optimizers._base import Optimizer
from archsearch.blocks.revivals._base import Revival
from archsearch.blocks.schedules._base import Schedule
from archsearch.blocks.signals import Port, Sizes
from archsearch.errors import AssemblyError, DataError, InvalidInput, Problem
from archsearch.spec.block import NestedSpec
from archsearch.spec.hashes import walk

T = TypeVar("T", bound=Block)


@dataclass(frozen=True)
class Assembly:
    """A spec, built: the module, the wired graph, and the receipt of what was built."""

    spec: Any
    graph: Graph
    sae: SAE
    receipt: Receipt
    init: Init
    revival: Revival | None
    calibration: Calibration | None
    optimizer: Optimizer
    schedule: Schedule


def assemble(
    spec: Any, *, model: int, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, blocks: Catalogue | None = None
) -> Assembly:
    """Builds the SAE that `spec` describes, for activations of width `model`; parameters hold their fills until the init event.

    Raises:
        AssemblyError: what does not fit together, with the path of every problem.
    """
    blocks = blocks or catalogue()
    graph = wire(spec, model, blocks)
    with _defaults(dtype, device):
        modules = {label: _make(node) for label, node in graph.nodes.items()}
        scales = {name: blocks[spec.scale.kind](spec.scale, Sizes(model, 0)) for name in spec.inputs}
        controller = _of(Controller, spec.controller, blocks) if spec.controller else None
        run_rows = max(spec.training.tokens // spec.training.batch, 1) * spec.training.batch
        sae = SAE(graph, modules, scales, run_rows, controller, cut=spec.calibration is not None)
        init = _of(Init, spec.init, blocks)
        revival = _of(Revival, spec.revival, blocks) if spec.revival else None
        calibration = _of(Calibration, spec.calibration, blocks) if spec.calibration else None
        optimizer = _of(Optimizer, spec.training.optimizer, blocks)
        schedule = _of(Schedule, spec.training.schedule, blocks)
    try:
        if revival is not None:
            revival.suits({d.name: _signals_around(d, graph) for d in graph.dictionaries})
        if calibration is not None:
            calibration.suits(graph.dense_rank)
    except InvalidInput as error:
        raise AssemblyError(error.problems) from None
    if controller is not None:
        _check_steered(graph)
    check_trained(graph, {label for label in graph.nodes if sae.block(label).axes})
    receipt = write_receipt(spec, graph, sae, revival, (optimizer, schedule))
    return Assembly(spec, graph, sae, receipt, init, revival, calibration, optimizer, schedule)


def _check_steered(graph: Graph) -> None:
    """Refuses a controller that nothing answers to.

    Raises:
        AssemblyError: no term of the loss has a setting that moves sparsity.
    """
    if not any(node.slot == "loss" and node.item.block.sparsity for node in graph.nodes.values()):
        raise AssemblyError(
            [Problem("no term of the loss moves sparsity, so there is nothing to steer; leave the controller out", "controller")]
        )


def _signals_around(dictionary: Dictionary, graph: Graph) -> frozenset[str]:
    """Returns the types of parameter signals that the blocks of a dictionary expose."""
    around = (graph.nodes[label] for label in (*dictionary.path, *dictionary.decoders))
    return frozenset(signal.value for node in around for signal in node.item.block.shared(node.spec).values())


def _of(slot: type[T], spec: Any, blocks: Catalogue) -> T:
    block = blocks[spec.kind](spec)
    assert isinstance(block, slot), f"{spec.kind} is no {slot.__name__}"  # the grammar let it in
    return block


def load_sae(
    document: dict[str, Any],
    weights: str | Path,
    model: int | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SAE:
    """Returns a trained SAE from its spec and its weights (a `.safetensors` file as studies and `archsearch train` write them).

    `model`: width of the activations; read off the weights by default.

    Raises:
        DataError: the weights cannot be read, or belong to another architecture.
    """
    spec = parse(document)
    try:
        tensors = load_file(weights, device=str(device))
        sae = assemble(spec, model=model or _model_of(spec, tensors), device=device, dtype=dtype).sae
        sae.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DataError(f"{weights}: cannot be loaded as this SAE ({error})") from None
    return sae.eval()


def _model_of(spec: Any, tensors: dict[str, torch.Tensor]) -> int:
    """Returns the width of the activations that weights of `spec` were trained on: the length of an axis that has it."""
    sae = assemble(spec, model=1, device="meta").sae
    for label in sae.graph.nodes:
        for name, axes in sae.block(label).axes.items():
            value = tensors.get(f"blocks.{label}.{name}")
            if "model" in axes and value is not None and value.dim() == len(axes):
                return value.shape[axes.index("model")]
    raise RuntimeError("no tensor in it tells the width of the activations")


def wire(spec: Any, model: int, blocks: Catalogue) -> Graph:
    """Returns the wired and checked graph of `spec`, without building a module.

    Raises:
        AssemblyError: what does not fit together, with the path of every problem.
    """
    top, items = lay_out(spec, blocks)
    names = Names(top, items)
    steps = {label: item for label, item in items.items() if not isinstance(item.spec, NestedSpec)}
    _check_nested(items, names)
    nodes = _first_pass(steps, names)
    # Before anything follows a wire back: what runs in circles has no end.
    _order(nodes, {})
    _aliases(nodes)
    outputs = _outputs(spec, top, names)
    dictionaries = find_dictionaries(nodes, outputs)
    _second_pass(nodes, dictionaries, outputs)
    for node in nodes.values():
        node.sort_wires()
    aliases = _aliases(nodes)
    order = _order(nodes, {})
    infos = infer(order, spec.inputs, model, aliases)
    graph = Graph(order, outputs, [_sized(dictionary, infos) for dictionary in dictionaries], infos, aliases, 0, model)
    check_reads(graph)
    graph.dense_rank = check_outputs(graph, spec.inputs)
    places = walk({label: node.plain() for label, node in order.items()}, outputs, graph.losses)
    rank = {label: place for place, label in enumerate(places)}
    graph.nodes = _order(nodes, rank)
    graph.dictionaries.sort(key=lambda dictionary: rank[dictionary.name])
    return graph


def _check_nested(items: dict[str, Item], names: Names) -> None:
    """Refuses wires of nested graphs that name no port or no signal; their blocks would never ask for them."""
    problems: list[Problem | str] = []
    for item in items.values():
        if isinstance(item.spec, NestedSpec):
            try:
                explicit(item, item.block.ports(item.spec), names)
            except AssemblyError as error:
                problems += error.problems
    if problems:
        raise AssemblyError(problems)


def _first_pass(items: dict[str, Item], names: Names) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    problems: list[Problem | str] = []
    for label, item in items.items():
        ports = item.block.ports(item.spec)
        try:
            wires = explicit(item, ports, names)
        except AssemblyError as error:
            problems += error.problems
            continue
        for port, rule in ports.items():
            signal = None if port in wires else by_position(item, rule, names)
            if signal is not None:
                wires[port] = [_implicit(signal, item, rule, names)]
        nodes[label] = Node(item, wires, {port: rule.many for port, rule in ports.items()})
        nodes[label].sort_wires()
    if problems:
        raise AssemblyError(problems)
    return nodes


def _implicit(signal: str, item: Item, rule: Port, names: Names | None = None) -> ResolvedWire:
    inside = item.scope.prefix and signal.startswith(f"{item.scope.prefix}/")
    if not item.scope.prefix or inside:
        return ResolvedWire(signal, signal.removeprefix(f"{item.scope.prefix}/") if inside else signal, rule.detach)
    # What comes from outside a nested graph can only be its input.
    return ResolvedWire(signal, item.scope.inputs[0], rule.detach or bool(names and names.cut(item.scope)))


def _second_pass(nodes: dict[str, Node], dictionaries: list[Dictionary], outputs: dict[str, str]) -> None:
    problems: list[Problem | str] = []
    for node in nodes.values():
        for port, rule in node.item.block.ports(node.spec).items():
            if port in node.wires or rule.default == "none":
                continue
            try:
                signal = by_dictionary(node, port, rule, dictionaries, nodes, outputs)
            except AssemblyError as error:
                problems += error.problems
                continue
            if signal is not None:
                node.wires[port] = [_implicit(signal, node.item, rule)]
            elif not rule.optional:
                wanted = " or ".join(rule.types)
                problems.append(Problem(f"{node.spec.kind} needs a {wanted} for port {port!r}, and nothing here gives one", node.item.path))
    if problems:
        raise AssemblyError(problems)


def _outputs(spec: Any, top: Scope, names: Names) -> dict[str, str]:
    if spec.outputs is None:
        if len(spec.inputs) > 1:
            raise AssemblyError(
                [Problem(f"with inputs {spec.inputs} each target needs its signal (`outputs: {{name: label}}`)", "outputs")]
            )
        return {spec.inputs[0]: names.main(top.labels[-1])}
    problems: list[Problem | str] = []
    found = {}
    for target, text in spec.outputs.items():
        if target not in spec.inputs:
            problems.append(Problem(f"target {target!r} is none of the inputs {spec.inputs}", f"outputs.{target}"))
        try:
            found[target] = names.find(text, top)
        except KeyError:
            problems.append(Problem(f"no signal {text!r}; known: {names.known(top)}", f"outputs.{target}"))
    if problems:
        raise AssemblyError(problems)
    return found


def _aliases(nodes: dict[str, Node]) -> dict[str, str]:
    """A parameter signal whose port of the same name is wired is the wired signal; returns what each is in the end.

    Raises:
        AssemblyError: parameter signals that are each other, so that there is none.
    """
    problems: list[Problem | str] = []
    found = {}
    for node in nodes.values():
        for output in node.item.block.shared(node.spec):
            chain = [f"{node.label}.{output}"]
            while (further := borrowed(chain[-1], nodes)) is not None and further not in chain:
                chain.append(further)
            if further == chain[0]:
                ring = " -> ".join([*chain, chain[0]])
                what = f"parameters must not be read in a ring: {ring}; one of these blocks needs its own"
                problems.append(Problem(what, node.item.path))
            elif len(chain) > 1:
                found[chain[0]] = chain[-1]
    if problems:
        raise AssemblyError(problems)
    return found


def _order(nodes: dict[str, Node], rank: dict[str, int]) -> dict[str, Node]:
    """Returns the nodes in an order they can run in; of those that can run at once, the lower rank first."""
    depends: dict[str, list[str]] = {}
    for label, node in nodes.items():
        reads = [wire.signal for wires in node.wires.values() for wire in wires]
        depends[label] = list(dict.fromkeys(owner for signal in reads if (owner := flow_owner(signal, nodes))))
    sorter = TopologicalSorter(depends)
    try:
        sorter.prepare()
    except CycleError as error:
        labels = " -> ".join(reversed(error.args[1]))
        path = nodes[error.args[1][0]].item.path
        raise AssemblyError([Problem(f"blocks must not form a cycle: {labels}", path)]) from None
    found: dict[str, Node] = {}
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda label: (rank.get(label, 0), label))
        found |= {label: nodes[label] for label in ready}
        sorter.done(*ready)
    return found


def _sized(dictionary: Dictionary, infos: dict[str, Any]) -> Dictionary:
    return Dictionary(dictionary.name, dictionary.code, dictionary.decoders, dictionary.path, infos[dictionary.code].size)


def _make(node: Node) -> Block:
    try:
        return node.item.block(node.spec, node.sizes)
    except InvalidInput as error:
        raise AssemblyError([Problem(p.what, p.path or node.item.path) for p in error.problems]) from None


@contextmanager
def _defaults(dtype: torch.dtype, device: str | torch.device):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)
