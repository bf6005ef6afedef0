"""Which blocks give a type of signal, for messages about a port that nothing can be wired to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from archsearch.assembler.graph import Node
from archsearch.blocks._block import StepBlock
from archsearch.blocks.catalogue import Catalogue
from archsearch.blocks.signals import Port, Signal


def lacking(node: Node, port: str, rule: Port, blocks: Catalogue) -> str:
    """Returns in words that a port needs a signal that nothing in the graph gives, and which blocks would give one."""
    kinds = sorted(kind for kind, block in blocks.blocks.items() if issubclass(block, StepBlock) and block.slot != "loss")
    found = [text for kind in kinds if (text := _giving(blocks[kind], rule.types))]
    wanted = " or ".join(rule.types)
    what = f"{node.spec.kind} needs a signal of type {wanted} for port {port!r}, and nothing here gives one"
    return f"{what}; blocks that do: {', '.join(found)}" if found else what


def _giving(block: Any, types: tuple[Signal, ...]) -> str:
    """Returns the kind of a block that gives a signal of one of the types, with the settings that takes; nothing for any other."""
    if not {*block.outputs.values(), *block.exposes.values()} & {*types}:
        return ""
    return next((_with(block.kind(), given) for given in _settings(block) if _gives(block, given, types)), "")


def _settings(block: Any) -> Iterator[dict[str, Any]]:
    """Yields no settings, then every setting of a few words by itself."""
    yield {}
    for name, field in block.Spec.model_fields.items():
        if get_origin(field.annotation) is Literal and name != "kind":
            yield from ({name: value} for value in get_args(field.annotation))


def _gives(block: Any, settings: dict[str, Any], types: tuple[Signal, ...]) -> bool:
    try:
        spec = block.Spec.model_validate(settings)
    except ValidationError:  # a setting that must be given: nothing that decides what it gives
        return True
    return bool({*block.gives(spec).values(), *block.shared(spec).values()} & {*types})


def _with(kind: str, settings: dict[str, Any]) -> str:
    return f"{kind} ({', '.join(f'{name}: {value}' for name, value in settings.items())})" if settings else kind
