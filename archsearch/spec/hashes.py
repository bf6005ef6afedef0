"""Canonical JSON and hashes: equal meaning, equal hash.

The hash of a graph is a Merkle hash in spirit only. A Merkle hash sees what a block reads, not *which* block that is: two
encoders with parameters of their own and one encoder read twice would hash alike. And parameter signals (a pre-bias that
reads the decoder's bias) make cycles, on which it never ends. Ports are named and ordered, so the graph can be written down
exactly instead: walk back from the outputs, number blocks in the order they are met, write each with the numbers of what it
reads. Labels, order in the file and blocks nothing reads drop out, and two graphs hash alike only if they are the same graph.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, permutations, product
from typing import Any

from pydantic import BaseModel

Nodes = Mapping[str, Mapping[str, Any]]
"""Blocks by label: `{kind, settings, inputs: {port: [(signal, detach), ...]}}`; a signal is `label.output` or an input's name."""

_SPELLING = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_DIGITS = 6
_TAGS = ("kind", "source")
"""Fields that say which class a mapping is: written even where they are the default."""


def canonical(data: Any) -> str:
    """Returns plain data as JSON with one spelling: sorted keys, floats at 6 significant digits, whole floats as integers.

    Raises:
        ValueError: a number that is not finite.
        TypeError: something that is not plain data.
    """
    return _SPELLING.encode(_canonical(data))


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise TypeError(f"keys must be text; got {wrong[0]!r}")
        return {key: _canonical(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(entry) for entry in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise ValueError(f"numbers must be finite; got {value!r}")
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short


def digest(data: Any) -> str:
    """Returns the hash of plain data: 16 hex digits of SHA-256 over its canonical JSON."""
    return _short(canonical(data))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def written(model: BaseModel) -> dict[str, Any]:
    """Returns a spec as plain data without settings equal to their default; `kind` and `source` always stay."""
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if name in _TAGS or field.is_required() or value != field.get_default(call_default_factory=True, validated_data={}):
            found[field.alias or name] = _written(value)
    return found


def _written(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return written(value)
    if isinstance(value, Mapping):
        return {key: _written(entry) for key, entry in value.items()}
    return [_written(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def merkle(nodes: Nodes, outputs: Mapping[str, str], losses: Iterable[str] = ()) -> str:
    """Returns the hash of a wired graph.

    `outputs`: signal by target, whose names count; `losses`: signals added up to the loss, whose names and order do not.
    Only blocks these reach count; the order of wires in a port does (`subtract` reads two signals in one port).
    """
    text, _ = _canonical_form(nodes, outputs, losses)
    return digest({"targets": sorted(outputs), "graph": text})


def walk(nodes: Nodes, outputs: Mapping[str, str], losses: Iterable[str] = ()) -> list[str]:
    """Returns the labels of all blocks that count, in an order the graph alone decides: no label, no order of a file."""
    _, order = _canonical_form(nodes, outputs, losses)
    return order


def _canonical_form(nodes: Nodes, outputs: Mapping[str, str], losses: Iterable[str]) -> tuple[str, list[str]]:
    ends, named = [outputs[target] for target in sorted(outputs)], list(losses)
    met = _met(nodes, [*ends, *named])
    colours = _colours({label: nodes[label] for label in met})  # of these alone: the rounds must not depend on what nothing reads
    named = sorted(named, key=lambda signal: _end_colour(signal, colours))
    # Losses that look alike in all they read are tied; every order of a tie is written and the smallest kept: no label shows.
    ties = [list(group) for _, group in groupby(named, key=lambda signal: _end_colour(signal, colours))]
    text, order = min((canonical(_write(nodes, ends, order)), order) for order in _orders(ties))
    return text, _met(nodes, [*ends, *order])


def _orders(ties: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for choice in product(*(permutations(tie) for tie in ties)):
        yield [signal for tie in choice for signal in tie]


def _split(signal: str, nodes: Nodes) -> tuple[str | None, str]:
    """Returns the label and the output a signal names, or None and the name of an input."""
    label, _, output = signal.rpartition(".")
    return (label, output) if label in nodes else (None, signal)


def _met(nodes: Nodes, signals: Sequence[str]) -> list[str]:
    """Returns the blocks that signals are made from, in the order they are met walking back."""
    met: dict[str, None] = {}
    waiting = [label for signal in reversed(signals) if (label := _split(signal, nodes)[0])]
    while waiting:
        label = waiting.pop()
        if label not in met:
            met[label] = None
            waiting += [read for signal in reversed(_reads(nodes[label])) if (read := _split(signal, nodes)[0])]
    return list(met)


def _write(nodes: Nodes, ends: Sequence[str], losses: Sequence[str]) -> dict[str, Any]:
    """Writes down what the ends and losses reach, blocks numbered in the order they are met."""
    numbers = {label: number for number, label in enumerate(_met(nodes, [*ends, *losses]))}

    def name(signal: str) -> list[Any]:
        label, output = _split(signal, nodes)
        return ["input", output] if label is None else [numbers[label], output]

    blocks = []
    for label in numbers:
        node = nodes[label]
        wired = {port: wires for port, wires in node["inputs"].items() if wires}
        inputs = {port: [[*name(signal), bool(detach)] for signal, detach in wires] for port, wires in wired.items()}
        blocks.append([node["kind"], node["settings"], inputs])
    return {"blocks": blocks, "ends": [name(signal) for signal in ends], "losses": [name(signal) for signal in losses]}


def _reads(node: Mapping[str, Any]) -> list[str]:
    return [signal for port in sorted(node["inputs"]) for signal, _ in node["inputs"][port]]


def _colours(nodes: Nodes) -> dict[str, str]:
    """Refines a colour per block: its kind and settings first, then round by round the colours of what it reads.

    As many rounds as blocks suffice for a colour to see all there is to see; labels never enter.
    """
    own = {label: canonical([node["kind"], node["settings"]]) for label, node in nodes.items()}
    colours = {label: digest(text) for label, text in own.items()}
    for _ in nodes:  # nothing here holds a number, so that one spelling is had without looking for any
        colours = {label: _short(_SPELLING.encode([own[label], _seen(nodes[label], colours)])) for label in nodes}
    return colours


def _seen(node: Mapping[str, Any], colours: Mapping[str, str]) -> dict[str, Any]:
    wired = {port: wires for port, wires in node["inputs"].items() if wires}
    return {port: [[_end_colour(signal, colours), bool(detach)] for signal, detach in wires] for port, wires in wired.items()}


def _end_colour(signal: str, colours: Mapping[str, str]) -> str:
    label, _, output = signal.rpartition(".")
    return f"{colours[label]}.{output}" if label in colours else f"input {signal}"
