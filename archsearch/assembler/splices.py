"""Terms of the loss that are taken of the language model: what they read, and in which units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from archsearch.assembler.graph import Graph, Node
from archsearch.blocks._splice import Pass, Splice
from archsearch.blocks.signals import Given
from archsearch.errors import AssemblyError, Problem
from archsearch.spec.activations import BundledSource, ModelSource


def spliced_nodes(graph: Graph) -> list[Node]:
    """Returns the blocks that are handed a splice."""
    return [node for node in graph.nodes.values() if Given.SPLICE in node.item.block.given(node.spec).values()]


def points_of(graph: Graph) -> tuple[str, ...]:
    """Returns the hook points that are read off a splice, each once."""
    return tuple(dict.fromkeys(point for node in spliced_nodes(graph) for point in node.item.block.points(node.spec)))


def check_spliced(graph: Graph) -> None:
    """Refuses a block that would put fewer or more reconstructions into the model than there are targets.

    Raises:
        AssemblyError: naming it.
    """
    problems: list[Problem | str] = []
    for node in spliced_nodes(graph):
        wires, targets = node.wires[node.main], list(graph.outputs)
        if len(wires) != len(targets):
            what = (
                f"all targets are replaced in one pass, so {node.main!r} reads a signal for each of {targets}, in order; got {len(wires)}"
            )
            problems.append(Problem(what, node.item.path))
    if problems:
        raise AssemblyError(problems)


def no_model(graph: Graph) -> list[Problem]:
    """Returns a problem for each block that is handed a splice, where activations have no model."""
    what = "needs a language model to splice into, which these activations do not have; take it out, or use `source: bundled` or `model`"
    return [Problem(f"{node.spec.kind} {what}", node.item.path) for node in spliced_nodes(graph)]


def source_problems(graph: Graph, source: Any) -> list[Problem]:
    """Returns what keeps an SAE from being trained through the model of a source of activations, as far as its settings tell."""
    if not isinstance(source, (BundledSource, ModelSource)):
        return no_model(graph)
    if isinstance(source, ModelSource) and source.dtype != "float32":
        what = f"needs the language model in 32 bits (`dtype: float32`); the activations have `dtype: {source.dtype}`"
        return [Problem(f"{node.spec.kind} {what}", node.item.path) for node in spliced_nodes(graph)]
    return []


def in_units_of(unscaled: Sequence[Callable[[Tensor], Tensor]], splice: Splice) -> Splice:
    """Returns a splice that takes reconstructions in the graph's units, the last of their levels.

    Whoever puts the same tensors in its place shares the pass. `unscaled`: brings each target's reconstruction to the activations' units.
    """
    known: list[tuple[Sequence[Tensor], Pass]] = []

    def through(values: Sequence[Tensor]) -> Pass:
        for before, passed in known:
            if all(one is other for one, other in zip(before, values, strict=True)):
                return passed
        last = [value[-1] if value.dim() > 2 else value for value in values]
        passed = splice.through([inverse(value) for inverse, value in zip(unscaled, last, strict=True)])
        known.append((values, passed))
        return passed

    return replace(splice, through=through)
