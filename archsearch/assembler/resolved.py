"""The resolved spec: what was built, with every wire and every value written out."""

from __future__ import annotations

from typing import Any

from archsearch.assembler.build import Assembly
from archsearch.assembler.graph import Node
from archsearch.assembler.validate import parse_graph
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.spec.block import NestedSpec

Document = dict[str, Any]


def resolved(assembly: Assembly, blocks: Catalogue | None = None) -> Document:
    """Returns the spec of an assembly as plain data that says everything: defaults, implicit wires, the terms of the loss, outputs.

    Parsed again it is the same SAE, whatever the order of its keys.
    """
    spec, graph = assembly.spec, assembly.graph
    document = spec.model_dump(mode="json", by_alias=True)
    document["graph"] = _graph(spec.graph, spec.inputs[0], "", graph.nodes, blocks or catalogue())
    prefix = "losses/"
    terms = {label.removeprefix(prefix): node for label, node in graph.nodes.items() if label.startswith(prefix)}
    document["losses"] = {label: {**_block(node), "of": None} for label, node in sorted(terms.items())}
    document["outputs"] = dict(graph.outputs)
    return document


def _graph(specs: dict[str, Any], first: str, prefix: str, nodes: dict[str, Node], blocks: Catalogue) -> Document:
    found: Document = {}
    before = first
    for label, spec in specs.items():
        full = f"{prefix}{label}"
        if isinstance(spec, NestedSpec):
            inner = parse_graph(spec.graph, full, blocks)
            written = spec.model_dump(mode="json", by_alias=True)
            port = next(iter(blocks[spec.kind].inputs))
            wires = (
                written["from"] if isinstance(written["from"], dict) else {port: written["from"] or [{"signal": before, "detach": None}]}
            )
            output = spec.output or list(inner)[-1]
            found[label] = {**written, "from": wires, "output": output, "graph": _graph(inner, "x", f"{full}/", nodes, blocks)}
        else:
            found[label] = _block(nodes[full])
        before = label
    return found


def _block(node: Node) -> Document:
    wires = {port: [{"signal": wire.local, "detach": wire.detach} for wire in wires] for port, wires in node.wires.items() if wires}
    return {**node.spec.model_dump(mode="json", by_alias=True), "from": wires}
