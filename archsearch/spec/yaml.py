"""YAML 1.2 and JSON, as plain data with the line of every entry; nothing a file says is ever executed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from archsearch.errors import InvalidInput, Problem

Key = tuple[str | int, ...]
"""Where something stands in a document: keys and list indices from the top."""

_DEPTH = 100
"""Levels of nesting a file may have; a guard against files made to exhaust the stack."""

# The core schema of YAML 1.2, so that `no` is a word and 1e-4 a number (YAML 1.1 has both the other way round).
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Document:
    """A file's content: `data`, the 1-based line of every entry, and the name it is reported under."""

    data: dict[str, Any]
    marks: Mapping[Key, int] = field(default_factory=dict)
    file: str = ""


def load(path: str | Path) -> Document:
    """Reads a YAML file, or a JSON file if its name ends in `.json`.

    Raises:
        InvalidInput: the file cannot be read or is not a mapping in plain YAML; every problem with its line.
    """
    file = str(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput([Problem("no such file", file=file)]) from None
    except UnicodeDecodeError as error:
        raise InvalidInput([Problem(f"a file must be UTF-8 text; byte {error.start} is not", file=file)]) from None
    except OSError as error:
        raise InvalidInput([Problem(f"cannot be read: {error.strerror}", file=file)]) from None
    return loads(text, file=file, strict_json=file.endswith(".json"))


def loads(text: str, file: str = "<text>", strict_json: bool = False) -> Document:
    """Reads YAML (of which JSON is a part) from `text`; `strict_json` refuses what JSON does not allow.

    Raises:
        InvalidInput: the text is not a mapping in plain YAML; every problem with its line.
    """
    if strict_json:
        _check_json(text, file)
        text = text.replace("\t", " ")  # legal between JSON's tokens, illegal within its strings: nothing else changes
    builder = _Builder(file)
    try:
        data = builder.build(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        raise InvalidInput([_syntax(error, text, file)]) from None
    except YAMLError as error:
        raise InvalidInput([Problem(str(error).splitlines()[0], file=file)]) from None
    if not isinstance(data, dict):
        got = "nothing" if data is None else repr(data)
        builder.refuse(f"the top of a file must be a mapping (`key: value` lines); got {got}", (), 1)
    if builder.problems or not isinstance(data, dict):
        raise InvalidInput(builder.problems)
    return Document(data, builder.marks, file)


def _check_json(text: str, file: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput([Problem(f"not valid JSON: {error.msg}", file=file, line=error.lineno)]) from None


def _syntax(error: MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    if "'\\t'" in (error.problem or ""):
        return Problem("indent with spaces; a tab cannot start anything here", file=file, line=line)
    lines = text.splitlines()
    shown = f"; got {lines[line - 1].strip()!r}" if line and line <= len(lines) else ""
    return Problem(f"not valid YAML: {error.problem}{shown}", file=file, line=line)


class _Builder:
    """Turns parser events into plain data; collects problems rather than stopping at the first."""

    def __init__(self, file: str):
        self.file = file
        self.marks: dict[Key, int] = {}
        self.problems: list[Problem] = []
        self._events: Iterator[Event] = iter(())

    def refuse(self, what: str, path: Key, line: int) -> None:
        self.problems.append(Problem(what, dotted(path), self.file, line))

    def build(self, events: Iterable[Event]) -> Any:
        self._events = iter(events)
        documents = 0
        data = None
        for event in self._events:
            if not isinstance(event, DocumentStartEvent):
                continue
            documents += 1
            if documents > 1:
                self.refuse("a file must hold one document; `---` starts another", (), event.start_mark.line + 1)
                break
            data = self._node(next(self._events), ())
        return data

    def _node(self, event: Event, path: Key) -> Any:
        line = event.start_mark.line + 1
        self.marks.setdefault(path, line)
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            # They hide a value far from where it acts, and can blow a small file up to any size.
            self.refuse("anchors and aliases (`&`, `*`) are not read here; write the value out", path, line)
        if getattr(event, "tag", None):
            self.refuse(f"tags are not read here; take {event.tag!r} out", path, line)  # pyright: ignore[reportAttributeAccessIssue]
        if len(path) > _DEPTH:
            raise InvalidInput([*self.problems, Problem(f"nested deeper than {_DEPTH} levels", "", self.file, line)])
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path, line) if isinstance(event, ScalarEvent) else None

    def _mapping(self, path: Key) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            line = event.start_mark.line + 1
            key = self._node(event, (*path, "?"))
            self.marks.pop((*path, "?"), None)
            if not isinstance(key, str):
                hint = f"write it in quotes: {str(event.value)!r}" if isinstance(event, ScalarEvent) else "a key must be a word"
                self.refuse(f"a key must be text; got {key!r}; {hint}", path, line)
                key = repr(key)
            if key in found:
                first = self.marks[*path, key]
                self.refuse(f"the key {key!r} is given twice (first on line {first}); keep one", (*path, key), line)
            self.marks.setdefault((*path, key), line)
            found[key] = self._node(next(self._events), (*path, key))
        return found

    def _sequence(self, path: Key) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            found.append(self._node(event, (*path, len(found))))
        return found

    def _scalar(self, event: ScalarEvent, path: Key, line: int) -> Any:
        if event.style is not None or event.tag:
            return event.value
        if _NOT_FINITE.fullmatch(event.value):
            self.refuse(f"numbers must be finite; got {event.value!r}", path, line)
        return _resolve(event.value)


def _resolve(text: str) -> Any:
    """Returns what an unquoted scalar means in YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def dotted(path: Key) -> str:
    """Returns a path as people write it: `graph.gate.k`."""
    return ".".join(map(str, path))


def located(problems: Iterable[Problem], marks: Mapping[Key, int], file: str, prefix: str = "") -> list[Problem]:
    """Returns the problems with `prefix` before their paths, and the line of the longest part of each path that the file has."""
    lines = {dotted(path): line for path, line in marks.items()}
    found = []
    for problem in problems:
        path = ".".join(part for part in (prefix, problem.path) if part)
        steps = path.split(".") if path else []
        known = (lines.get(".".join(steps[:cut])) for cut in range(len(steps), -1, -1))
        line = problem.line or next((line for line in known if line), None)
        found.append(replace(problem, path=path, file=problem.file or file, line=line))
    return found


def dump(data: Mapping[str, Any]) -> str:
    """Returns plain data as YAML for people: block style, keys in their order, short innermost mappings and lists on one line.

    `loads(dump(data)).data == data` for JSON-like data of finite numbers.
    """
    return "\n".join(_block(data, 0)) + "\n" if data else "{}\n"


_INLINE = 100
"""Longest one-line mapping or list (characters)."""


def _block(value: Any, depth: int) -> list[str]:
    indent = "  " * depth
    pairs = [(f"{_text(key)}:", entry) for key, entry in value.items()] if isinstance(value, Mapping) else [("-", v) for v in value]
    lines = []
    for head, entry in pairs:
        inner = entry if isinstance(entry, (Mapping, list, tuple)) else None
        nested = inner is not None and any(isinstance(v, (Mapping, list, tuple)) for v in _values(inner))
        flow = "" if nested else _flow(entry)
        if not nested and (not inner or (depth > 0 and len(flow) <= _INLINE)):
            lines.append(f"{indent}{head} {flow}")
        else:
            lines += [f"{indent}{head}", *_block(entry, depth + 1)]
    return lines


def _values(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*( [A-Za-z0-9_./@-]+)*")


def _text(text: str) -> str:
    """Returns a string unquoted where that is unmistakable, else in double quotes with everything unprintable escaped."""
    if _WORD.fullmatch(text) and isinstance(_resolve(text), str):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() and c != "\ufeff" else f"\\U{ord(c):08x}" for c in quoted)
