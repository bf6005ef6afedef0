"""Validates plain data against the grammar, and words what is wrong with it."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.messages import value_words


def parse_graph(document: Any, path: str, blocks: Catalogue) -> dict[str, Any]:
    """Returns the blocks of a nested graph by label.

    Raises:
        InvalidInput: with all problems, each with its path under `path`.
    """
    problems: list[Problem] = []
    graph = validate(blocks.grammar.of_graph, document, path, problems)
    if problems:
        raise InvalidInput(problems)
    return graph


def validate(adapter: TypeAdapter[Any], document: Any, path: str, problems: list[Problem]) -> Any:
    """Returns `document` as the type of `adapter`, or None and what is wrong with it in `problems`."""
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        problems += [_problem(item, document, path) for item in error.errors()]
        return None


def _problem(error: Any, document: Any, prefix: str) -> Problem:
    """Words one Pydantic error: what must hold, what came, the nearest valid name."""
    steps, owner = _real_path(error["loc"], document)
    path = ".".join([prefix, *steps] if prefix else steps)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        key = steps[-1] if steps else ""
        return Problem(f"unknown key {key!r}; {nearest(key, owner)}" if owner else f"unknown key {key!r}", path)
    if kind == "union_tag_invalid":
        valid = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
        return Problem(f"unknown kind {context['tag']!r} here; {nearest(context['tag'], valid)}", path)
    if kind == "union_tag_not_found":
        return Problem(f"a block must say its `kind`, or be just a kind; got {error['input']!r}", path)
    if kind == "missing":
        return Problem(f"{steps[-1]!r} must be given", path)
    return Problem(value_words(error), path)


def _real_path(location: tuple[Any, ...], document: Any) -> tuple[list[str], list[str]]:
    """Drops the steps Pydantic adds (union tags); returns the path and the names valid at its end, where they are known."""
    steps: list[str] = []
    node = document
    for index, step in enumerate(location):
        last = index == len(location) - 1
        if isinstance(node, dict) and (step in node or (last and steps != list(map(str, location)))):
            known = step in node
            if known or last:
                steps.append(str(step))
                node = node.get(step)
        elif isinstance(node, (list, tuple)) and isinstance(step, int):
            steps.append(str(step))
            node = node[step] if step < len(node) else None
    return steps, _valid_keys(location)


def _valid_keys(location: tuple[Any, ...]) -> list[str]:
    blocks = catalogue()
    tags = [step for step in location if isinstance(step, str) and step in blocks.blocks]
    if tags:
        return [field.alias or name for name, field in blocks[tags[-1]].Spec.model_fields.items()]
    model = blocks.grammar.sae
    for step in location[:-1]:
        field = model.model_fields.get(step)
        annotation = field.annotation if field else None
        if annotation is not None and hasattr(annotation, "model_fields"):
            model = annotation
    return list(model.model_fields)
