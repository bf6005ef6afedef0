"""Words Pydantic's errors as problems of a file: what must hold, what came, the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from archsearch.errors import Problem, nearest


def problems_of(error: ValidationError, data: Any, model: type[BaseModel]) -> list[Problem]:
    """Returns one problem for each place in `data` that `model` refuses."""
    found: dict[str, str] = {}
    for item in error.errors():
        path, valid = _walk(item, data, model)
        what = _words(item, valid)
        # A value that fits no member of a union is one problem, however many members there are.
        found[path] = f"{found[path]}; or: {what}" if path in found and found[path] != what else what
    return [Problem(what, path) for path, what in found.items()]


def _words(item: Any, valid: list[str]) -> str:
    kind, context, last = item["type"], item.get("ctx", {}), str((item["loc"] or ("",))[-1])
    if kind == "extra_forbidden":
        return f"unknown key {last!r}; {nearest(last, valid)}"
    if kind == "missing":
        return f"{last!r} must be given"
    if kind == "union_tag_invalid":
        tags = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
        field = context["discriminator"].strip("'")
        return f"unknown {field} {context['tag']!r}; {nearest(context['tag'], tags)}"
    if kind == "union_tag_not_found":
        return f"must be a mapping that says its {context['discriminator']}; got {item['input']!r}"
    return value_words(item)


_TYPES = {
    "int": "must be a whole number",
    "float": "must be a number",
    "string": "must be text",
    "bool": "must be true or false",
    "list": "must be a list",
    "tuple": "must be a list",
    "dict": "must be a mapping",
    "model": "must be a mapping",
}
"""What must hold, by the first word of the type of Pydantic's error."""

_BOUNDS = {"ge": "must be at least", "gt": "must be above", "le": "must be at most", "lt": "must be below"}

_PATTERNS = {r"^[A-Za-z0-9_-]+$": "may hold letters (a to z, A to Z), digits, `_` and `-` only, and at least one of them"}


def _shown(value: Any) -> str:
    """Returns a value as YAML writes it where Python's word is another."""
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)


def value_words(item: Any) -> str:
    """Words an error about a value: what must hold, and what came."""
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    what = item["msg"].removeprefix("Value error, ")
    bound = next((name for name in _BOUNDS if name in context and kind.startswith(("greater", "less"))), None)
    first, _, rest = kind.partition("_")
    if bound:
        what = f"{_BOUNDS[bound]} {context[bound]:,}"
    elif kind == "literal_error":
        names = re.findall(r"'([^']*)'", context["expected"])
        what = f"must be one of {', '.join(names)}"
        close = nearest(value, names) if isinstance(value, str) and names else ""
        if close.startswith("did you mean"):
            return f"{what}; got {value!r}; {close.split(' (')[0]}"
    elif kind == "too_short":
        what = "must hold at least one entry" if context["min_length"] == 1 else f"must hold at least {context['min_length']} entries"
    elif kind == "string_too_short":
        what = "must not be empty"
    elif kind == "string_too_long":
        return f"must have at most {context['max_length']} characters; got {len(value)}"
    elif kind == "string_pattern_mismatch":
        what = _PATTERNS.get(context["pattern"], f"must match the pattern {context['pattern']!r}")
    elif first in _TYPES and rest in ("type", "parsing", "from_float", "attributes_type", "parsing_size"):
        what = _TYPES[first]
        if value in ("true", "false"):  # `SpecModel` makes truth values words, so that Python does not take them for 0 and 1
            return f"{what}; got {value}"
    return what if "; got " in what else f"{what}; got {_shown(value)}"


def _walk(item: Any, data: Any, model: type[BaseModel]) -> tuple[str, list[str]]:
    """Returns the path in the file, without the steps Pydantic adds for members of a union, and the fields valid at its end."""
    steps: list[str] = []
    node, models = data, [model]
    location = item["loc"]
    for index, step in enumerate(location):
        tagged = [member for member in models if step in _tags(member)]
        if len(models) > 1 and tagged:
            models = tagged
            continue
        last = index == len(location) - 1
        if (isinstance(node, dict) and step in node) or (isinstance(node, list) and isinstance(step, int) and step < len(node)):
            node = node[step]
        elif not (last and item["type"] == "missing"):
            continue
        steps.append(str(step))
        if not last:
            fields = [member.model_fields[step] for member in models if step in member.model_fields]
            models = [found for field in fields for found in _models(field.annotation)]
    valid = [field.alias or name for member in models[:1] for name, field in member.model_fields.items()]
    return ".".join(steps), valid


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the models an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _tags(model: type[BaseModel]) -> list[Any]:
    return [value for field in model.model_fields.values() for value in get_args(field.annotation) if isinstance(value, str)]
