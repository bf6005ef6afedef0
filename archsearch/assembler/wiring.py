"""Resolves wires: explicit ones by name, implicit ones by the port's default."""

from __future__ import annotations

from dataclasses import dataclass

from archsearch.assembler.graph import Dictionary, Node, ResolvedWire
from archsearch.assembler.scopes import Item, Scope
from archsearch.blocks.signals import PARAMETERS, SPACE, Port, Signal
from archsearch.errors import AssemblyError, Problem, nearest
from archsearch.spec.block import LossSpec, NestedSpec, Wire

IDLE = "idle"
"""Output name under which a dictionary's idle counts are read (`gate.idle`)."""


class Names:
    """What names mean: looks signals up from within a scope. `outputs`: signal that rebuilds each target, once they are known."""

    def __init__(self, top: Scope, items: dict[str, Item]):
        self.top, self.items = top, items
        self.outputs: dict[str, str] = {}

    def main(self, label: str) -> str:
        """Returns the main output of a block, looking through nested graphs to the block they name, or their last.

        Raises:
            AssemblyError: a nested graph names a block it does not have.
        """
        item = self.items[label]
        if isinstance(item.spec, NestedSpec):
            inner = item.scope.nested[self._own(item)]
            label = item.spec.output or inner.labels[-1]
            if label not in inner.labels:
                what = f"no block {label!r} inside; {nearest(label, inner.labels)}"
                raise AssemblyError([Problem(what, f"{item.path}.output")])
            return self.main(inner.full(label))
        return f"{label}.{next(iter(item.block.gives(item.spec)))}"

    def _own(self, item: Item) -> str:
        return item.label.removeprefix(f"{item.scope.prefix}/") if item.scope.prefix else item.label

    def find(self, text: str, scope: Scope) -> str:
        """Returns the flat signal that `text` names inside `scope`.

        Raises:
            KeyError: nothing bears that name.
        """
        if text in scope.inputs:
            return self.input(scope, text)
        steps = text.split(".")
        for cut in range(len(steps), 0, -1):
            label, rest = scope.full("/".join(steps[:cut])), steps[cut:]
            item = self.items.get(label)
            if item is None or isinstance(item.spec, LossSpec) or len(rest) > 1:
                continue
            if not rest:
                return self.main(label)
            if isinstance(item.spec, NestedSpec):
                return self._of_nested(item, rest[0])
            if rest[0] in self._outputs(item):
                return f"{label}.{rest[0]}"
        raise KeyError(text)

    def input(self, scope: Scope, name: str) -> str:
        """Returns the flat signal an input name stands for."""
        if scope.parent is None:
            return name
        item = self.items[scope.prefix]
        wires = _main_wires(item)
        return self.find(wires[0].signal, item.scope) if wires else self.previous(item)

    def cut(self, scope: Scope) -> bool:
        """Tells whether the gradient is stopped on the way from outside to a nested graph's input."""
        if scope.parent is None:
            return False
        item = self.items[scope.prefix]
        wires = _main_wires(item)
        if wires:
            return bool(wires[0].detach) or (wires[0].signal in scope.parent.inputs and self.cut(scope.parent))
        return self._own(item) == scope.parent.labels[0] and self.cut(scope.parent)

    def previous(self, item: Item) -> str:
        """Returns the main output of the block before `item`, or its scope's first input."""
        labels = item.scope.labels
        index = labels.index(self._own(item))
        return self.main(item.scope.full(labels[index - 1])) if index else self.input(item.scope, item.scope.inputs[0])

    def _of_nested(self, item: Item, output: str) -> str:
        inner = item.scope.nested[self._own(item)]
        if output == "reconstruction":
            return self.main(item.label)
        gates = [label for label in map(inner.full, inner.labels) if self.items[label].block.slot == "gate"]
        if output == "code" and len(gates) == 1:
            return self.main(gates[0])
        raise KeyError(output)

    @staticmethod
    def _outputs(item: Item) -> list[str]:
        shared = item.block.shared(item.spec)
        idle = [IDLE] if item.block.slot == "gate" else []
        return [*item.block.gives(item.spec), *shared, *idle]

    def known(self, scope: Scope) -> list[str]:
        """Returns what may be named inside `scope`, for messages."""
        found = list(scope.inputs)
        for label, item in self.items.items():
            if label.startswith(scope.prefix) and not isinstance(item.spec, (LossSpec, NestedSpec)):
                local = label.removeprefix(f"{scope.prefix}/").replace("/", ".")
                found += [local, *(f"{local}.{output}" for output in self._outputs(item))]
        return found


def explicit(item: Item, ports: dict[str, Port], names: Names) -> dict[str, list[ResolvedWire]]:
    """Returns the wires written in a block's spec, by port.

    Raises:
        AssemblyError: a port or a signal that does not exist.
    """
    problems: list[Problem] = []
    wires: dict[str, list[ResolvedWire]] = {}
    for port, written in _written(item, ports).items():
        if port not in ports:
            problems.append(Problem(f"{item.spec.kind} has no port {port!r} here; {nearest(port, list(ports))}", f"{item.path}.from"))
            continue
        if len(written) > 1 and not ports[port].many:
            problems.append(Problem(f"port {port!r} takes one signal; got {len(written)}", f"{item.path}.from"))
            continue
        wires[port] = []
        for wire in written:
            try:
                signal = names.find(wire.signal, item.scope)
            except KeyError:
                what = f"no signal {wire.signal!r}; {nearest(wire.signal, names.known(item.scope))}"
                problems.append(Problem(what, f"{item.path}.{'of' if _is_of(item, wire) else 'from'}"))
                continue
            detach = ports[port].detach if wire.detach is None else wire.detach
            detach = detach or (wire.signal in item.scope.inputs and names.cut(item.scope))
            wires[port].append(ResolvedWire(signal, wire.signal, detach))
    if problems:
        raise AssemblyError(problems)
    return wires


def _main_wires(item: Item) -> list[Wire]:
    """Returns the wires written for a block's main port, none if they are implicit."""
    wires = item.spec.from_
    main = next(iter(item.block.ports(item.spec)))
    return list(wires.get(main, []) if isinstance(wires, dict) else wires or [])


def _is_of(item: Item, wire: Wire) -> bool:
    return isinstance(item.spec, LossSpec) and item.spec.of == wire


def _written(item: Item, ports: dict[str, Port]) -> dict[str, list[Wire]]:
    main = next(iter(ports))
    wiring = item.spec.from_
    found = dict(wiring) if isinstance(wiring, dict) else ({main: list(wiring)} if wiring else {})
    if isinstance(item.spec, LossSpec) and item.spec.of is not None:
        if main in found:
            raise AssemblyError([Problem(f"`of` and `from` both name port {main!r}", item.path)])
        found[main] = [item.spec.of]
    return found


def by_position(item: Item, name: str, port: Port, wires: dict[str, list[ResolvedWire]], names: Names) -> str | None:
    """Returns the signal of an unwired port whose default depends on position alone; `wires`: those the block's spec writes.

    Raises:
        AssemblyError: several targets would do.
    """
    if port.default == "previous":
        return names.previous(item)
    if port.default == "target" and item.scope.parent is None:
        return _target(item, name, wires, names)
    if port.default in ("input", "target"):
        return names.input(item.scope, item.scope.inputs[0])
    return None


def _target(item: Item, name: str, wires: dict[str, list[ResolvedWire]], names: Names) -> str:
    """Returns the SAE's target: of several, the one whose reconstruction the block reads."""
    read = {wire.signal for each in wires.values() for wire in each}
    found = [target for target, signal in names.outputs.items() if len(names.outputs) == 1 or signal in read]
    if len(found) != 1:
        what = f"port {name!r} could read any of the targets {list(names.outputs)}; say which (`from: {{{name}: ...}}`)"
        raise AssemblyError([Problem(what, item.path)])
    return found[0]


@dataclass(frozen=True)
class Ends:
    """Where an SAE's codes end up: its dictionaries, the signal that rebuilds each target, and the targets behind each decoder."""

    dictionaries: list[Dictionary]
    outputs: dict[str, str]
    targets: dict[str, tuple[str, ...]]


def by_dictionary(node: Node, name: str, port: Port, nodes: dict[str, Node], ends: Ends) -> list[tuple[str, bool]]:
    """Returns the signals of an unwired port that belong to the block's dictionary, and whether wires that lend them stop the gradient.

    One signal, or all decoders' for a port that takes a list; none where there is no such signal.

    Raises:
        AssemblyError: several signals would do.
    """
    if port.default == "outputs":
        return [(signal, False) for signal in ends.outputs.values()]
    if port.default == "output":
        read = _reads(node)
        named = [signal for target, signal in ends.outputs.items() if target in read] or list(ends.outputs.values())
    else:
        eligible = _eligible(node, port, ends.dictionaries, nodes)
        named = [signal for dictionary in eligible for signal in _signals(node, port, dictionary, nodes, ends.targets)]
        if port.many and len(eligible) == 1:
            return [pair for signal in named for pair in _lent_for([signal], port, nodes, far=False).items()]
    found = _lent_for(named, port, nodes, far=False)
    if len(found) > 1:
        found = _lent_for(named, port, nodes, far=True)  # several may be one in the end
    if len(found) > 1:
        what = f"port {name!r} could read any of {list(found)}; say which (`from: {{{name}: ...}}`)"
        raise AssemblyError([Problem(what, node.item.path)])
    return list(found.items())


def _lent_for(signals: list[str], port: Port, nodes: dict[str, Node], far: bool) -> dict[str, bool]:
    """Returns what signals stand for, as far as the types on the way are those of the port, and whether every way there stops the gradient.

    One wire is followed, or all (`far`) up to the block that owns the parameter.
    """
    found: dict[str, bool] = {}
    for signal in signals:
        seen, stopped = {signal}, False  # a ring is refused once every wire stands
        while (wire := lent(signal, nodes)) and wire.signal not in seen and type_of(wire.signal, nodes) in port.types:
            signal, stopped = wire.signal, stopped or wire.detach
            seen.add(signal)
            if not far:
                break
        found[signal] = found.get(signal, True) and stopped
    return found


def _eligible(node: Node, port: Port, dictionaries: list[Dictionary], nodes: dict[str, Node]) -> list[Dictionary]:
    """Returns the dictionaries an unwired port may read from: those its other wires name, else its graph's, else all.

    A block whose wires tell of latents, but of no dictionary's, does without an optional port: another dictionary's would not fit them.
    """
    related = [d for d in dictionaries if _related(node, d)] or [d for d in dictionaries if _touches(node, d, nodes)]
    if related or (port.optional and any(type_of(signal, nodes) in _OF_LATENTS for signal in _reads(node))):
        return related
    return [d for d in dictionaries if _within(node, d, nodes)] or dictionaries


_OF_LATENTS = (Signal.PRE, Signal.CODE, Signal.ACTIVE, Signal.DICTIONARY, Signal.WEIGHT, Signal.THRESHOLD, Signal.IDLE)


def _reads(node: Node) -> set[str]:
    return {wire.signal for wires in node.wires.values() for wire in wires}


def _related(node: Node, dictionary: Dictionary) -> bool:
    reads = _reads(node)
    touched = {signal.rsplit(".", 1)[0] for signal in reads}
    return node.label in dictionary.path or dictionary.code in reads or dictionary.name in touched


def _touches(node: Node, dictionary: Dictionary, nodes: dict[str, Node]) -> bool:
    """Tells whether a block reads what a dictionary's code is made from, what its decoders read, or parameters of theirs.

    Reconstructions do not count: what reads one works in the model's space, on whatever was rebuilt there.
    """
    decoded = {wire.signal for label in dictionary.decoders for wire in nodes[label].wires[nodes[label].main]}
    for signal in _reads(node):
        label = signal.rsplit(".", 1)[0]
        if label in dictionary.path or signal in decoded or (label in dictionary.decoders and type_of(signal, nodes) in PARAMETERS):
            return True
    return False


def _within(node: Node, dictionary: Dictionary, nodes: dict[str, Node]) -> bool:
    return nodes[dictionary.name].item.scope is node.item.scope


def _signals(node: Node, port: Port, dictionary: Dictionary, nodes: dict[str, Node], targets: dict[str, tuple[str, ...]]) -> list[str]:
    gate = nodes[dictionary.name]
    if port.default == "code":
        return [dictionary.code]
    if port.default == "pre":
        return [gate.wires[gate.main][0].signal]
    if port.default == "active":
        return [f"{gate.label}.{out}" for out, type in gate.item.block.gives(gate.spec).items() if type is Signal.ACTIVE]
    if port.default == "threshold":
        return [f"{gate.label}.{out}" for out, type in gate.item.block.shared(gate.spec).items() if type is Signal.THRESHOLD]
    if Signal.IDLE in port.types:
        return [f"{gate.label}.{IDLE}"]
    decoders = dictionary.decoders if port.many else _alike(node, port, dictionary.decoders, nodes, targets)
    shared = ((label, nodes[label].item.block.shared(nodes[label].spec)) for label in decoders)
    return [f"{label}.{output}" for label, outputs in shared for output, type in outputs.items() if type in port.types]


def _alike(
    node: Node, port: Port, decoders: tuple[str, ...], nodes: dict[str, Node], targets: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Returns the decoders that rebuild the hook point a block works at; all where that is not known.

    None if an optional port would read another hook point's: what is a direction there means nothing here.
    """
    here = _hook_points(node, nodes, targets)
    found = tuple(label for label in decoders if not here or not targets.get(label) or here & {*targets[label]})
    return found if found or port.optional else decoders


def _hook_points(node: Node, nodes: dict[str, Node], targets: dict[str, tuple[str, ...]]) -> set[str]:
    """Returns the hook points whose space a block reads: inputs by themselves, else those behind ops, and the targets of decoders."""
    reads = _reads(node)
    direct = {signal for signal in reads if signal.rpartition(".")[0] not in nodes}
    if direct:
        return direct
    found: set[str] = set()
    for signal in reads:
        label = signal.rpartition(".")[0]
        if type_of(signal, nodes) in SPACE:
            found |= {*targets.get(label, ())} if nodes[label].slot == "decoder" else _hook_points(nodes[label], nodes, targets)
    return found


def lent(signal: str, nodes: dict[str, Node]) -> ResolvedWire | None:
    """Returns the wire that lends a parameter signal: a port of the same name that is wired makes it another block's."""
    label, _, output = signal.rpartition(".")
    node = nodes.get(label)
    if node is None or output not in node.item.block.shared(node.spec) or not node.wires.get(output):
        return None
    return node.wires[output][0]


def type_of(signal: str, nodes: dict[str, Node]) -> Signal | None:
    """Returns the type of a block's signal as the block names it, None for an input."""
    label, _, output = signal.rpartition(".")
    node = nodes.get(label)
    if node is None:
        return None
    return {IDLE: Signal.IDLE, **node.item.block.shared(node.spec), **node.item.block.gives(node.spec)}.get(output)
