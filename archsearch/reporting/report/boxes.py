"""An SAE spec as boxes and arrows: what a drawing shows, before anything has a place.

Read off the spec's own wires, which are all there in a spec a study wrote. The catalogue only adds what it knows of a kind (slot,
defaults, which outputs are parameters), so that a spec with a block that is not installed here is drawn too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from archsearch.assembler.graph import settings_of
from archsearch.blocks._block import Block, StepBlock
from archsearch.blocks.catalogue import catalogue
from archsearch.spec.block import StepSpec, Wire

INPUT, OUTPUT, LOSS, NESTED = "signal in", "signal out", "loss", "nested"
"""Slots of boxes that are no plain block of the graph."""


@dataclass(frozen=True)
class Box:
    """One block, input, output or term of the loss.

    `settings`: those that differ from their defaults, and the one that moves sparsity, in words; `inside`: the boxes of a nested graph.
    """

    id: str
    label: str
    kind: str
    slot: str
    settings: tuple[str, ...] = ()
    inside: Diagram | None = None


@dataclass(frozen=True)
class Arrow:
    """One wire, from a box's `output` to a box's `port`.

    `detach`: the gradient stops on it; `parameter`: it carries parameters or state, not something computed from the row; `main`: the
    output is the block's main one.
    """

    source: str
    output: str
    target: str
    port: str
    detach: bool
    parameter: bool
    main: bool


@dataclass(frozen=True)
class Diagram:
    """Boxes in the order of the spec, and the arrows between them."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def shape(self) -> tuple[Any, ...]:
        """Returns what two diagrams have in common that differ in settings only."""
        boxes = tuple((b.id, b.kind, b.inside.shape() if b.inside else None) for b in self.boxes)
        return boxes, self.arrows


def diagram(spec: Mapping[str, Any]) -> Diagram:
    """Returns the boxes and arrows of a whole SAE spec, the terms of its loss among them."""
    scope = _Scope(spec.get("graph") or {}, tuple(spec.get("inputs") or ("x",)))
    losses = {label: _entry(loss) for label, loss in (spec.get("losses") or {}).items()}
    terms = [_box(f"loss/{label}", label, entry, LOSS) for label, entry in losses.items()]
    arrows = [arrow for label, entry in losses.items() for arrow in scope.arrows(f"loss/{label}", entry, None)]
    outputs = spec.get("outputs") or {scope.inputs[0]: scope.last}
    return scope.diagram(outputs, terms, arrows)


def united(diagrams: Sequence[Diagram]) -> Diagram:
    """Returns diagrams of one shape as one, a number that differs among them as a range."""
    first = diagrams[0]
    boxes = []
    for index, box in enumerate(first.boxes):
        same = [each.boxes[index] for each in diagrams]
        inside = united([one.inside for one in same if one.inside]) if box.inside else None
        boxes.append(replace(box, settings=_ranges([one.settings for one in same]), inside=inside))
    return Diagram(tuple(boxes), first.arrows)


class _Scope:
    """One graph: the whole SAE's, or a nested one's."""

    def __init__(self, graph: Mapping[str, Any], inputs: tuple[str, ...]):
        self.graph = {label: _entry(block) for label, block in graph.items()}
        self.inputs = inputs
        self.last = next(reversed(self.graph), inputs[0])

    def diagram(self, outputs: Mapping[str, str], terms: Sequence[Box] = (), arrows: Sequence[Arrow] = ()) -> Diagram:
        boxes = [Box(f"in/{name}", name, "input", INPUT) for name in self.inputs]
        boxes += [_box(label, label, entry) for label, entry in self.graph.items()]
        boxes += [Box(f"out/{name}", name, "output", OUTPUT) for name in outputs]
        found, before = list[Arrow](), self.inputs[0]
        for label, entry in self.graph.items():
            found += self.arrows(label, entry, before)
            before = label
        for name, signal in outputs.items():
            found += self._arrow(Wire(signal=signal, detach=None), f"out/{name}", "", False)
        return Diagram((*boxes, *terms), (*found, *arrows))

    def arrows(self, into: str, entry: Mapping[str, Any], before: str | None) -> Iterator[Arrow]:
        """Yields what a block reads; one that says nothing of it reads the block before."""
        known = catalogue().blocks.get(entry["kind"])
        ports = _ports(known, entry)
        main = next(iter(ports), "")
        wiring = _wiring(entry, main)
        if not wiring and before is not None:
            wiring = {main: [Wire(signal=before, detach=None)]}
        for port, wires in wiring.items():
            for wire in wires:
                stopped = bool(getattr(ports.get(port), "detach", False)) if wire.detach is None else wire.detach
                yield from self._arrow(wire, into, port, stopped)

    def _arrow(self, wire: Wire, into: str, port: str, detach: bool) -> Iterator[Arrow]:
        found = self.find(wire.signal)
        if found is not None:
            source, output, parameter, main = found
            yield Arrow(source, output, into, port, detach, parameter, main)

    def find(self, signal: str) -> tuple[str, str, bool, bool] | None:
        """Returns the box a signal comes from, the name of its output, whether that is a parameter, and whether it is the main one."""
        if signal in self.inputs:
            return f"in/{signal}", "", False, True
        label, _, output = signal.partition(".")
        entry = self.graph.get(label)
        if entry is None:
            return None
        if "graph" in entry:
            inner = _Scope(entry["graph"], ("x",)).find(output) if output else None
            return label, output, bool(inner and inner[2]), output in ("", "reconstruction")
        known = catalogue().blocks.get(entry["kind"])
        gives = list(_gives(known, entry))
        main = gives[0] if gives else output
        carried = known is not None and bool(gives) and output not in ("", *gives)
        return label, output or main, carried, output in ("", main)


def _box(id: str, label: str, entry: Mapping[str, Any], slot: str = "") -> Box:
    kind = entry["kind"]
    known = catalogue().blocks.get(kind)
    if "graph" in entry:
        inner = _Scope(entry["graph"], ("x",))
        output = entry.get("output") or inner.last
        return Box(id, label, kind, NESTED, (f"width {entry.get('width')}",), inner.diagram({"reconstruction": output}))
    return Box(id, label, kind, slot or (known.slot if known else ""), _settings(known, entry))


def _entry(block: Any) -> dict[str, Any]:
    return {"kind": block} if isinstance(block, str) else dict(block)


def _parsed(known: type[Block] | None, entry: Mapping[str, Any]) -> Any:
    """Returns the settings of a block as its own class reads them; None where there is none that takes them."""
    try:
        return known.Spec.model_validate(entry) if known else None
    except ValidationError:  # written for another version of the block
        return None


def _ports(known: type[Block] | None, entry: Mapping[str, Any]) -> dict[str, Any]:
    parsed = _parsed(known, entry)
    return known.ports(parsed) if parsed is not None and known and issubclass(known, StepBlock) else {}


def _gives(known: type[Block] | None, entry: Mapping[str, Any]) -> dict[str, Any]:
    parsed = _parsed(known, entry)
    return known.gives(parsed) if parsed is not None and known and issubclass(known, StepBlock) else {}


def _wiring(entry: Mapping[str, Any], main: str) -> dict[str, list[Wire]]:
    spec = StepSpec.model_validate({"kind": entry["kind"], "from": entry.get("from")})
    found = dict(spec.from_) if isinstance(spec.from_, dict) else ({main: list(spec.from_)} if spec.from_ else {})
    if entry.get("of") is not None:
        found[main] = [Wire.model_validate({"signal": entry["of"]} if isinstance(entry["of"], str) else entry["of"])]
    return found


def _settings(known: type[Block] | None, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the settings of a block in words; of an unknown kind all that is written."""
    parsed = _parsed(known, entry)
    if parsed is None:
        return tuple(setting(name, value) for name, value in entry.items() if name not in ("kind", "from", "of"))
    found = settings_of(parsed)
    moving = known.sparsity if known else ""
    if moving and getattr(parsed, moving, None) is not None:
        found = {moving: getattr(parsed, moving), **found}
    return tuple(setting(name, value) for name, value in found.items() if name != "kind")


def setting(name: str, value: Any) -> str:
    """Returns a setting in words, its name first."""
    if isinstance(value, bool) or value is None:
        return name if value else f"no {name}"
    if isinstance(value, (list, tuple)):
        return f"{name} {' '.join(map(_number, value))}"
    return f"{name} {_number(value)}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _ranges(settings: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Returns settings of several boxes as one list: what is alike once, numbers as a range, other values side by side."""
    found: dict[str, list[str]] = {}
    for one in settings:
        for text in one:
            name, _, value = text.rpartition(" ")
            found.setdefault(name if _is_number(value) else text, []).append(value if _is_number(value) else "")
    parts = []
    for name, values in found.items():
        numbers = sorted({float(value): value for value in values if value}.items())
        if not numbers:
            parts.append(name if len(values) == len(settings) else f"{name} (some)")
        elif len(numbers) == 1:
            parts.append(f"{name} {numbers[0][1]}" if len(values) == len(settings) else f"{name} {numbers[0][1]} (some)")
        else:
            parts.append(f"{name} {numbers[0][1]} to {numbers[-1][1]}")
    return tuple(parts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
