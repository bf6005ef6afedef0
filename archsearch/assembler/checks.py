"""Checks of a wired graph: types and sizes along every wire, nothing unread, and what flows past the codes."""

from __future__ import annotations

from archsearch.assembler.graph import Graph, Node
from archsearch.assembler.wiring import IDLE
from archsearch.blocks.signals import PARAMETERS, SPACE, Info, Signal, Sizes
from archsearch.errors import AssemblyError, InvalidInput, Problem


def infer(nodes: dict[str, Node], inputs: list[str], model: int, aliases: dict[str, str]) -> dict[str, Info]:
    """Works out every signal's type and size in running order, and fills in the nodes' sizes.

    Raises:
        AssemblyError: a wire whose type or size does not fit, naming it.
    """
    infos = {name: Info(Signal.ACTIVATION, model) for name in inputs}
    problems: list[Problem | str] = []
    _parameters(nodes, model, infos)
    for node in nodes.values():
        wired = {port: tuple(infos[wire.signal] for wire in wires if wire.signal in infos) for port, wires in node.wires.items()}
        if any(len(wired[port]) < len(wires) for port, wires in node.wires.items()):
            continue  # a block before it has a problem of its own
        found = _misfits(node, wired)
        node.sizes = Sizes(model, _latent(node, wired), wired)
        try:
            node.outputs = node.item.block.produces(node.spec, node.sizes)
        except InvalidInput as error:
            found += [Problem(p.what, p.path or node.item.path) for p in error.problems]
        problems += found
        if found:
            continue
        infos |= {f"{node.label}.{name}": info for name, info in node.outputs.items()}
        for output, type in node.item.block.shared(node.spec).items():
            infos[f"{node.label}.{output}"] = Info(type, model)
        if node.slot == "gate":
            infos[f"{node.label}.{IDLE}"] = Info(Signal.IDLE, node.sizes.latent)
    if not problems:
        problems += [problem for node in nodes.values() for problem in _mismatched(node, nodes, infos, aliases)]
    if problems:
        raise AssemblyError(problems)
    return infos


def _parameters(nodes: dict[str, Node], model: int, infos: dict[str, Info]) -> None:
    """Parameter signals and idle counts are sources: known before anything runs."""
    for node in nodes.values():
        for output, type in node.item.block.shared(node.spec).items():
            infos[f"{node.label}.{output}"] = Info(type, model)
        if node.slot == "gate":
            infos[f"{node.label}.{IDLE}"] = Info(Signal.IDLE, 0)


def _latent(node: Node, wired: dict[str, tuple[Info, ...]]) -> int:
    sizes = [info.size for infos in wired.values() for info in infos if info.type in (Signal.PRE, Signal.CODE, Signal.ACTIVE)]
    if node.slot == "encoder" or not sizes:
        return node.item.scope.width
    return sizes[0]


def _misfits(node: Node, wired: dict[str, tuple[Info, ...]]) -> list[Problem]:
    problems = []
    latents: dict[str, int] = {}
    for port, rule in node.item.block.ports(node.spec).items():
        for wire, info in zip(node.wires.get(port, []), wired.get(port, ()), strict=True):
            place = f"{wire.signal} -> {node.label}.{port}"
            if info.type not in rule.types:
                problems.append(Problem(f"{place}: port {port!r} takes {' or '.join(rule.types)}; got {info.type}", node.item.path))
            if info.levels and not rule.levels:
                problems.append(Problem(f"{place}: port {port!r} takes no level axis; got {info.levels} levels", node.item.path))
            if info.type in (Signal.PRE, Signal.CODE, Signal.ACTIVE):
                latents[wire.signal] = info.size
    if len(set(latents.values())) > 1:
        problems.append(Problem(f"signals of different widths meet in {node.label}: {latents}", node.item.path))
    return problems


def _mismatched(node: Node, nodes: dict[str, Node], infos: dict[str, Info], aliases: dict[str, str]) -> list[Problem]:
    """Compares the latents of everything a block reads, parameters included: those are read before the block that owns them is sized."""
    latents: dict[str, int] = {}
    for wire in (wire for wires in node.wires.values() for wire in wires):
        type = infos[wire.signal].type
        if type in (Signal.PRE, Signal.CODE, Signal.ACTIVE):
            latents[wire.signal] = infos[wire.signal].size
        elif type in (Signal.DICTIONARY, Signal.WEIGHT, Signal.THRESHOLD, Signal.IDLE):
            latents[wire.signal] = nodes[aliases.get(wire.signal, wire.signal).rsplit(".", 1)[0]].sizes.latent
    if len(set(latents.values())) < 2:
        return []
    return [Problem(f"signals of different widths meet in {node.label}: {latents}", node.item.path)]


def check_reads(graph: Graph, inputs: list[str]) -> None:
    """Refuses blocks and inputs that nothing reads, and penalties on codes that no decoder reads.

    Raises:
        AssemblyError: naming each.
    """
    read = _reached(graph, list(graph.outputs.values()))
    trained = read | {label for label in graph.nodes if label.startswith("losses/")}
    for label in list(trained):
        trained |= _reached(graph, [wire.signal for wires in graph.nodes[label].wires.values() for wire in wires])
    problems: list[Problem | str] = []
    for label, node in graph.nodes.items():
        if label not in trained:
            problems.append(Problem(f"nothing reads {label!r}; wire it (`from:`) or take it out", node.item.path))
    reads = {wire.signal for label in trained for wires in graph.nodes[label].wires.values() for wire in wires}
    unread = [name for name in inputs if name not in reads and name not in graph.outputs]
    problems += [Problem(f"nothing reads the input {name!r}; wire it (`from:`) or take it out", "inputs") for name in unread]
    for dictionary in graph.dictionaries:
        if not any(decoder in read for decoder in dictionary.decoders):
            what = f"the code {dictionary.code!r} reaches no output: training on it would change nothing"
            problems.append(Problem(what, graph.nodes[dictionary.name].item.path))
    counted = {f"{dictionary.name}.{IDLE}" for dictionary in graph.dictionaries}
    for node in graph.nodes.values():
        for wire in (wire for wires in node.wires.values() for wire in wires):
            if graph.infos[wire.signal].type is Signal.IDLE and wire.signal not in counted:
                what = f"idle counts are kept of codes that reach an output; {wire.signal.rsplit('.', 1)[0]!r} makes none"
                problems.append(Problem(what, node.item.path))
    if not graph.dictionaries:
        problems.append(Problem("an SAE needs a gate whose code a decoder reads", "graph"))
    if problems:
        raise AssemblyError(problems)


def check_trained(graph: Graph, learned: set[str]) -> None:
    """Refuses parameters that act on an output and that no term of the loss depends on, and a loss that trains none at all.

    Wires that stop the gradient count as read: who writes `detach` means it. `learned`: labels of blocks with parameters of their own.

    Raises:
        AssemblyError: naming each.
    """
    trained = _reached(graph, graph.losses)
    problems: list[Problem | str] = []
    for label in sorted((learned & _reached(graph, list(graph.outputs.values()))) - trained):
        what = f"no term of the loss reads what {label!r} makes, so it would stay as it starts; add one that does (`losses:`)"
        problems.append(Problem(what, graph.nodes[label].item.path))
    if not learned & _reached(graph, graph.losses, through_stops=False):
        problems.append(
            Problem("every wire from a term of the loss to a parameter stops the gradient (`detach`): nothing would train", "losses")
        )
    if problems:
        raise AssemblyError(problems)


def _reached(graph: Graph, signals: list[str], through_stops: bool = True) -> set[str]:
    found: set[str] = set()
    waiting = list(signals)
    while waiting:
        label = waiting.pop().rsplit(".", 1)[0]
        if label in found or label not in graph.nodes:
            continue
        found.add(label)
        wires = (wire for wires in graph.nodes[label].wires.values() for wire in wires)
        waiting += [wire.signal for wire in wires if through_stops or not wire.detach]
    return found


def check_outputs(graph: Graph, inputs: list[str]) -> int:
    """Checks that outputs live in the model's space; returns the rank of what reaches them past every code.

    Raises:
        AssemblyError: an output that is no reconstruction.
    """
    problems: list[Problem | str] = []
    for target, signal in graph.outputs.items():
        info = graph.infos.get(signal)
        if info is None or info.type not in SPACE:
            got = info.type if info else "nothing"
            problems.append(Problem(f"the output for {target!r} must be a reconstruction; {signal} is {got}", "graph"))
    if problems:
        raise AssemblyError(problems)
    ranks = dict.fromkeys(inputs, graph.model)
    for node in graph.nodes.values():
        reads = [wire.signal for wires in node.wires.values() for wire in wires if graph.infos[wire.signal].type not in PARAMETERS]
        passed = node.item.block.rank(node.spec, [ranks.get(signal, 0) for signal in reads], node.sizes)
        for name, info in node.outputs.items():
            # A code is what L0 counts: whatever passes through it is paid for there.
            ranks[f"{node.label}.{name}"] = 0 if info.type is Signal.CODE else min(passed, info.size)
    # Every target is paid for: what two outputs let past the codes need not be the same.
    return sum(ranks[signal] for signal in graph.outputs.values())
