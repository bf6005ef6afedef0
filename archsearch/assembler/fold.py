"""Folds a trained SAE: gates become thresholds, and what only training needs is left out; codes and reconstructions stay.

Gates say what they become (`Gate.folded`); nothing here knows one by name.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.graph import Graph, Node, ResolvedWire
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.assembler.sae import SAE
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.blocks.gates._base import Folded, Gate
from archsearch.errors import AssemblyError, InvalidInput, Problem

Document = dict[str, Any]

LOSSES = "losses/"
EVENTS = ("revival", "controller", "calibration")


@torch.no_grad()
def fold(document: Document, sae: SAE, blocks: Catalogue | None = None) -> tuple[Document, SAE]:
    """Returns spec and module of an SAE of gates with thresholds that gives the same codes and reconstructions at inference.

    Gates are replaced and cut-offs of a calibration taken into their thresholds; levels are dropped, the last being the whole code, and so
    is every block that reaches no output, every term of the loss but errors of the output, and every event. All other parameters and state
    are copied. Codes are the same numbers; so are reconstructions, but for their last bits where a level axis made another product of
    them.

    Args:
        document: spec of the SAE, as written or resolved.
        sae: the trained module; it is left as it is.
        blocks: the catalogue; all blocks by default.

    Raises:
        AssemblyError: gates that cannot be converted, each with the reason.
    """
    blocks = blocks or catalogue()
    plan = _Plan(sae, blocks)
    whole = resolved(assemble(parse(document, blocks), model=sae.graph.model, device="meta", blocks=blocks), blocks)
    kept = {label: entry for label, entry in whole["losses"].items() if plan.keeps_loss(sae.graph.nodes[LOSSES + label])}
    terms = {label: plan.without_levels(entry) for label, entry in kept.items()}
    written = {**whole, **dict.fromkeys(EVENTS), "graph": plan.graph_of(whole["graph"], ""), "losses": terms}
    parameter = next(sae.parameters())
    built = assemble(parse(written, blocks), model=sae.graph.model, device=parameter.device, dtype=parameter.dtype, blocks=blocks)
    _fill(built.sae, sae, plan.gates)
    return resolved(built, blocks), built.sae.eval()


class _Plan:
    """What becomes of every block: `gates` are replaced, `kept` stay, levels are passed over and the rest is left out."""

    def __init__(self, sae: SAE, blocks: Catalogue):
        self.graph, self.blocks = sae.graph, blocks
        self.kept = _behind(sae.graph, list(sae.graph.outputs.values()))
        self.gates = _folded_gates(sae, self.kept)

    def keeps_loss(self, node: Node) -> bool:
        """Tells whether a term compares outputs with inputs and reads nothing else."""
        reads = [wire.signal for wires in node.wires.values() for wire in wires]
        return all(signal in self.graph.outputs.values() or signal.rpartition(".")[0] not in self.graph.nodes for signal in reads)

    def without_levels(self, entry: Document) -> Document:
        """Returns a term of the loss without the settings that need a level axis."""
        of_levels = getattr(self.blocks[entry["kind"]], "level_settings", ())
        return {name: value for name, value in entry.items() if name not in of_levels}

    def graph_of(self, graph: Document, prefix: str) -> Document:
        """Returns the blocks of a resolved graph as they are after folding."""
        found: Document = {}
        for label, entry in graph.items():
            full = prefix + label
            if "graph" in entry:
                inner = self.graph_of(entry["graph"], f"{full}/")
                output = entry["output"] if entry["output"] in inner else None  # what only training read is gone
                found |= {label: {**entry, "graph": inner, "output": output}} if inner else {}
            elif full in self.kept and self.graph.nodes[full].slot != "level":
                settings = self.gates[full].settings if full in self.gates else entry
                found[label] = {**copy.deepcopy(settings), "from": self._wires(self.graph.nodes[full], prefix)}
        return found

    def _wires(self, node: Node, prefix: str) -> Document:
        return {
            port: [{"signal": self._named(wire, prefix), "detach": wire.detach} for wire in wires]
            for port, wires in node.wires.items()
            if wires
        }

    def _named(self, wire: ResolvedWire, prefix: str) -> str:
        """Returns what a wire reads, as the scope of `prefix` names it: in the place of a level, what the level reads."""
        signal = wire.signal
        while (owner := self.graph.nodes.get(signal.rpartition(".")[0])) is not None and owner.slot == "level":
            signal = owner.wires[owner.main][0].signal
        if signal == wire.signal:
            return wire.local
        return signal.removeprefix(prefix).replace("/", ".")  # codes stay inside their graph, or are read from around it


def _behind(graph: Graph, signals: list[str]) -> set[str]:
    """Returns the blocks that signals depend on, by flow or by parameters."""
    found: set[str] = set()
    waiting = list(signals)
    while waiting:
        label = waiting.pop().rpartition(".")[0]
        if label in graph.nodes and label not in found:
            found.add(label)
            waiting += [wire.signal for wires in graph.nodes[label].wires.values() for wire in wires]
    return found


def _folded_gates(sae: SAE, kept: set[str]) -> dict[str, Folded]:
    """Returns what every gate becomes, by label.

    Raises:
        AssemblyError: those that cannot be converted.
    """
    found: dict[str, Folded] = {}
    problems: list[Problem | str] = []
    for label, node in sae.graph.nodes.items():
        if node.slot != "gate" or label not in kept:
            continue
        try:
            found[label] = cast(Gate, sae.block(label)).folded(sae.cutoff_of(label))
        except InvalidInput as error:
            problems += [Problem(f"{node.spec.kind} cannot be folded: {p.what}", node.item.path) for p in error.problems]
    if problems:
        raise AssemblyError(problems)
    return found


def _fill(target: SAE, source: SAE, gates: dict[str, Folded]) -> None:
    """Copies every tensor of the same name, those of losses apart, and gives the new gates theirs."""
    have = source.state_dict()
    for name, value in target.state_dict().items():
        part, label, *_ = name.split(".")
        if part != "blocks" or not (label in gates or label.startswith(LOSSES)):
            value.copy_(have[name])
    for label, gate in gates.items():
        for name, value in gate.parameters.items():
            getattr(target.block(label), name).copy_(value)
