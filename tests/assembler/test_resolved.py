"""A resolved spec says everything, and is the same SAE."""

from __future__ import annotations

import json
from typing import Any

import pytest

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.recipes import names, recipe
from archsearch.spec.yaml import loads
from tests.assembler.test_topologies import TOPOLOGIES


def shuffled(node: Any) -> Any:
    """Returns plain data with the keys of every mapping in reverse order."""
    if isinstance(node, dict):
        return {key: shuffled(node[key]) for key in reversed(list(node))}
    return [shuffled(entry) for entry in node] if isinstance(node, list) else node


def documents() -> list[Any]:
    found = [pytest.param(loads(text).data, id=name) for name, text in TOPOLOGIES.items()]
    return found + [pytest.param(recipe(name), id=name) for name in names()]


@pytest.mark.parametrize("document", documents())
def test_parsed_again_in_any_order_it_is_the_same_sae(document: dict[str, Any]) -> None:
    first = assemble(parse(document), model=16, device="meta")
    written = json.loads(json.dumps(resolved(first)))
    for again in (written, shuffled(written)):
        second = assemble(parse(again), model=16, device="meta")
        assert second.receipt.arch == first.receipt.arch
    assert resolved(assemble(parse(written), model=16, device="meta")) == written


@pytest.mark.parametrize("document", documents())
def test_no_wire_is_left_implicit(document: dict[str, Any]) -> None:
    written = resolved(assemble(parse(document), model=16, device="meta"))
    assert "reconstruction" in written["losses"] and written["outputs"]
    for block in [*written["graph"].values(), *written["losses"].values()]:
        assert block["from"]
