"""From plain data (YAML, JSON) to a validated spec, with every problem named at once."""

from __future__ import annotations

from typing import Any

from archsearch.assembler.requested import FIELD, at_requested_l0
from archsearch.assembler.validate import parse_graph, validate
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.errors import InvalidInput, Problem
from archsearch.spec.block import NestedSpec


def parse(document: Any, blocks: Catalogue | None = None) -> Any:
    """Returns the SAE spec written in `document`, nested graphs included.

    Raises:
        InvalidInput: with all problems, each with its path.
    """
    blocks = blocks or catalogue()
    problems: list[Problem] = []
    document = at_requested_l0(document, blocks)
    spec = validate(blocks.grammar.of_sae, document, "", problems)
    if spec is not None and spec.target_l0 is not None:  # such as a number in quotes: it was not turned into settings
        problems.append(Problem(f"must be a number above 0; got {document.get(FIELD)!r}", FIELD))
    if spec is not None:
        _nested(spec.graph, "graph", blocks, problems)
    if problems:
        raise InvalidInput(problems)
    return spec


def _nested(graph: dict[str, Any], path: str, blocks: Catalogue, problems: list[Problem]) -> None:
    for label, spec in graph.items():
        if isinstance(spec, NestedSpec):
            try:
                inner = parse_graph(spec.graph, f"{path}.{label}.graph", blocks)
            except InvalidInput as error:
                problems += error.problems
            else:
                _nested(inner, f"{path}.{label}.graph", blocks, problems)
