"""Lays nested graphs out flat: every block gets one label, and a scope that says what names mean inside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from archsearch.assembler.targets import terms_of
from archsearch.assembler.validate import parse_graph
from archsearch.blocks._block import StepBlock
from archsearch.blocks.catalogue import Catalogue
from archsearch.errors import AssemblyError, Problem
from archsearch.spec.block import NestedSpec


@dataclass
class Scope:
    """One graph: the whole SAE's (prefix empty) or a nested one's.

    `inputs`: what its input names stand for, as (scope, text) to look up outside, or None at the top; `labels`: its blocks in order,
    nested graphs among them; `path`: where it stands in the document.
    """

    prefix: str
    width: int
    parent: Scope | None
    inputs: list[str]
    path: str
    labels: list[str] = field(default_factory=list)
    nested: dict[str, Scope] = field(default_factory=dict)

    def full(self, label: str) -> str:
        """Returns the flat label of one of this scope's blocks."""
        return f"{self.prefix}/{label}" if self.prefix else label


@dataclass
class Item:
    """One block, laid out: its flat label, its scope, its class and settings, and its path in the document."""

    label: str
    scope: Scope
    block: type[StepBlock]
    spec: Any
    path: str


def lay_out(spec: Any, blocks: Catalogue) -> tuple[Scope, dict[str, Item]]:
    """Returns the top scope and every block of `spec` by flat label (losses as `losses/...`), nested graphs in place."""
    top = Scope("", spec.width, None, list(spec.inputs), "graph")
    items: dict[str, Item] = {}
    _lay_out(spec.graph, top, blocks, items)
    _check_labels(spec.losses, [], "losses")
    for label, loss in terms_of(_losses(spec, blocks), spec.inputs, spec.outputs or {}, blocks).items():
        items[f"losses/{label}"] = Item(f"losses/{label}", top, _step(blocks, loss), loss, f"losses.{label}")
    return top, items


def _losses(spec: Any, blocks: Catalogue) -> dict[str, Any]:
    given = dict(spec.losses)
    if "reconstruction" not in given:
        default = blocks["squared_error"].Spec.model_validate({})
        given = {"reconstruction": default, **given}
    return given


LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""What a label may be: dots and slashes separate labels from outputs and nested labels."""


_RESERVED = frozenset(dir(nn.ModuleDict))
"""Names a module's own attributes bear."""


def _check_labels(labels: Iterable[str], taken: list[str], path: str) -> None:
    problems: list[Problem | str] = []
    for label in labels:
        if not LABEL.fullmatch(label):
            problems.append(Problem(f"a label is letters, digits, `_` and `-`, a letter first; got {label!r}", f"{path}.{label}"))
        elif label in _RESERVED:
            problems.append(Problem(f"the label {label!r} is reserved; choose another", f"{path}.{label}"))
        elif label in taken:
            problems.append(Problem(f"the label {label!r} is an input's name; choose another", f"{path}.{label}"))
    if problems:
        raise AssemblyError(problems)


def _lay_out(graph: dict[str, Any], scope: Scope, blocks: Catalogue, items: dict[str, Item]) -> None:
    _check_labels(graph, scope.inputs, scope.path)
    for label, spec in graph.items():
        full, path = scope.full(label), f"{scope.path}.{label}"
        scope.labels.append(label)
        if isinstance(spec, NestedSpec):
            inner = Scope(full, spec.width, scope, ["x"], f"{path}.graph")
            scope.nested[label] = inner
            items[full] = Item(full, scope, _step(blocks, spec), spec, path)
            _lay_out(parse_graph(spec.graph, inner.path, blocks), inner, blocks, items)
        else:
            items[full] = Item(full, scope, _step(blocks, spec), spec, path)


def _step(blocks: Catalogue, spec: Any) -> type[StepBlock]:
    block = blocks[spec.kind]
    if not issubclass(block, StepBlock):
        raise TypeError(f"{block.__name__} stands in a graph but is no step block")
    return block
