"""The wired and checked graph of a spec: every wire of every block, in an order they can run in."""

from __future__ import annotations

from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from archsearch.assembler.checks import check_outputs, check_reads, infer
from archsearch.assembler.dictionaries import find_dictionaries, flow_owner, targets_of
from archsearch.assembler.givers import lacking
from archsearch.assembler.graph import Dictionary, Graph, Node, ResolvedWire
from archsearch.assembler.scopes import Item, Scope, lay_out
from archsearch.assembler.wiring import Ends, Names, by_dictionary, by_position, explicit, lent
from archsearch.blocks.catalogue import Catalogue
from archsearch.errors import AssemblyError, Problem
from archsearch.spec.block import NestedSpec
from archsearch.spec.hashes import walk


def wire(spec: Any, model: int, blocks: Catalogue) -> Graph:
    """Returns the wired and checked graph of `spec`, without building a module.

    Raises:
        AssemblyError: what does not fit together, with the path of every problem.
    """
    top, items = lay_out(spec, blocks)
    names = Names(top, items)
    steps = {label: item for label, item in items.items() if not isinstance(item.spec, NestedSpec)}
    _check_nested(items, names)
    names.outputs = outputs = _outputs(spec, top, names)
    nodes = _first_pass(steps, names)
    # Before anything follows a wire back: what runs in circles has no end.
    _order(nodes, {})
    _aliases(nodes)
    ends = Ends(find_dictionaries(nodes, outputs), outputs, targets_of(nodes, outputs))
    _second_pass(nodes, ends, blocks)
    aliases = _aliases(nodes)
    for node in nodes.values():
        node.sort_wires()
        node.wires = {port: [_as_lent(wire, nodes) for wire in wires] for port, wires in node.wires.items()}
    order = _order(nodes, {})
    infos = infer(order, spec.inputs, model, aliases)
    graph = Graph(order, outputs, [_sized(dictionary, infos) for dictionary in ends.dictionaries], infos, aliases, 0, model, ends.targets)
    check_reads(graph, spec.inputs)
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
            written = explicit(item, ports, names)
        except AssemblyError as error:
            problems += error.problems
            continue
        wires = dict(written)
        for port, rule in ports.items():
            if port in written:
                continue
            try:
                signal = by_position(item, port, rule, written, names)
            except AssemblyError as error:
                problems += error.problems
                continue
            if signal is not None:
                wires[port] = [_implicit(signal, item, rule.detach, names)]
        nodes[label] = Node(item, wires, {port: rule.many for port, rule in ports.items()})
        nodes[label].sort_wires()
    if problems:
        raise AssemblyError(problems)
    return nodes


def _implicit(signal: str, item: Item, stopped: bool, names: Names | None = None) -> ResolvedWire:
    inside = item.scope.prefix and signal.startswith(f"{item.scope.prefix}/")
    if not item.scope.prefix or inside:
        return ResolvedWire(signal, signal.removeprefix(f"{item.scope.prefix}/") if inside else signal, stopped)
    # What comes from outside a nested graph can only be its input.
    return ResolvedWire(signal, item.scope.inputs[0], stopped or bool(names and names.cut(item.scope)))


def _second_pass(nodes: dict[str, Node], ends: Ends, blocks: Catalogue) -> None:
    problems: list[Problem | str] = []
    for node in nodes.values():
        for port, rule in node.item.block.ports(node.spec).items():
            if port in node.wires or rule.default == "none":
                continue
            try:
                found = by_dictionary(node, port, rule, nodes, ends)
            except AssemblyError as error:
                problems += error.problems
                continue
            if found:
                node.wires[port] = [_implicit(signal, node.item, rule.detach or stopped) for signal, stopped in found]
            elif not rule.optional:
                problems.append(Problem(lacking(node, port, rule, blocks), node.item.path))
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
            while (further := lent(chain[-1], nodes)) is not None and further.signal not in chain:
                chain.append(further.signal)
            if further is not None and further.signal == chain[0]:
                ring = " -> ".join([*chain, chain[0]])
                what = f"parameters must not be read in a ring: {ring}; one of these blocks needs its own"
                problems.append(Problem(what, node.item.path))
            elif len(chain) > 1:
                found[chain[0]] = chain[-1]
    if problems:
        raise AssemblyError(problems)
    return found


def _as_lent(wire: ResolvedWire, nodes: dict[str, Node]) -> ResolvedWire:
    """Returns a wire that stops the gradient where a wire that lends what it reads does: `detach` holds for whoever borrows."""
    step = lent(wire.signal, nodes)
    while step is not None and not step.detach:
        step = lent(step.signal, nodes)
    return replace(wire, detach=True) if step is not None else wire


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
