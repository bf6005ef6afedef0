"""Finds an SAE's dictionaries in its wired blocks: which codes reach an output, and through which decoders."""

from __future__ import annotations

from archsearch.assembler.graph import Dictionary, Node
from archsearch.assembler.wiring import IDLE
from archsearch.blocks.signals import PARAMETERS
from archsearch.errors import AssemblyError, Problem


def find_dictionaries(nodes: dict[str, Node], outputs: dict[str, str]) -> list[Dictionary]:
    """Finds every code a decoder rebuilds outputs from, in the spec's order.

    Who owns the decoder's rows does not matter: a code that reaches an output is paid for in L0. A decoder that reaches none (one of an
    auxiliary task) speaks for no dictionary.
    """
    reaching = _upstream(list(outputs.values()), nodes)
    decoders: dict[str, list[str]] = {}
    for node in nodes.values():
        if node.slot == "decoder" and node.label in reaching:
            code = _base_code(node, nodes)
            if code is not None:  # otherwise the types do not fit, which is said where types are checked
                decoders.setdefault(code, []).append(node.label)
    names = [code.rsplit(".", 1)[0] for code in decoders]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AssemblyError([Problem(f"two outputs of {twice!r} are decoded; a gate speaks through one code", nodes[twice].item.path)])
    return [
        Dictionary(name, code, tuple(labels), tuple(_path(name, nodes)), 0)
        for name, (code, labels) in zip(names, decoders.items(), strict=True)
    ]


def targets_of(nodes: dict[str, Node], outputs: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Returns the targets that each decoder's reconstruction flows into past no further code, by its label."""
    found: dict[str, tuple[str, ...]] = {}
    for target, signal in outputs.items():
        for label in _upstream([signal], nodes, through_codes=False):
            if nodes[label].slot == "decoder":
                found[label] = (*found.get(label, ()), target)
    return found


def _upstream(signals: list[str], nodes: dict[str, Node], through_codes: bool = True) -> set[str]:
    """Returns the blocks whose outputs flow into `signals`; parameters read on the way are no flow."""
    found: set[str] = set()
    waiting = list(signals)
    while waiting:
        label = flow_owner(waiting.pop(), nodes)
        if label is not None and label not in found:
            found.add(label)
            if through_codes or nodes[label].slot != "decoder":
                waiting += [wire.signal for wires in nodes[label].wires.values() for wire in wires]
    return found


def _base_code(node: Node, nodes: dict[str, Node]) -> str | None:
    """Follows a code back through levels to the gate that makes it; blocks form no cycle."""
    wires = node.wires.get(node.main, [])
    while wires:
        label = flow_owner(wires[0].signal, nodes)
        if label is None:
            return None
        owner = nodes[label]
        if owner.slot != "level":
            return wires[0].signal if owner.slot == "gate" else None
        wires = owner.wires.get(owner.main, [])
    return None


def _path(name: str, nodes: dict[str, Node]) -> list[str]:
    """Returns the gate and every block between it and the model's space that works on latents."""
    found, waiting = [], [name]
    while waiting:
        label = waiting.pop()
        if label in found or label not in nodes:
            continue
        found.append(label)
        if nodes[label].slot != "encoder":  # what an encoder reads lies in the model's space
            reads = [
                wire.signal for port, wires in nodes[label].wires.items() if port not in ("target", "dictionary", "bias") for wire in wires
            ]
            waiting += [signal.rsplit(".", 1)[0] for signal in reads if "." in signal and _slot_of(signal, nodes) not in ("decoder",)]
    return found


def _slot_of(signal: str, nodes: dict[str, Node]) -> str:
    """Returns the slot of the block a signal comes from, empty for an input."""
    owner = nodes.get(signal.rsplit(".", 1)[0])
    return owner.slot if owner else ""


def flow_owner(signal: str, nodes: dict[str, Node]) -> str | None:
    """Returns the block that must run before `signal` exists; parameter signals and idle counts are there from the start."""
    label, _, output = signal.rpartition(".")
    node = nodes.get(label)
    if node is None or output == IDLE or node.item.block.shared(node.spec).get(output) in PARAMETERS:
        return None
    return label
