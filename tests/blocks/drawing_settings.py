"""Draws settings of blocks from the types and bounds of their fields, and numbers a spec may differ in within one structure."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.parse import parse
from archsearch.blocks._block import Block
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.blocks.signals import Info, Sizes
from archsearch.errors import AssemblyError, InvalidInput
from archsearch.spec.block import BlockSpec
from tests.blocks.harness import Example, example

MODEL = 6
WIRING = ("kind", "from_", "of", "graph", "width", "output")
"""Fields that are not settings of a block's own."""

Document = dict[str, Any]


def examples(kind: str) -> Example:
    """Returns what a block's test file says of it; nothing for one outside the catalogue."""
    return example(kind) if kind in catalogue().blocks else Example()


class Settings:
    """Draws values of fields: defaults, the ends of ranges, and what lies between, at the size of the SAEs drawn here."""

    def __init__(self, rng: random.Random, width: int, steps: int = 20):
        self.rng, self.width, self.steps = rng, width, steps

    def of(self, block: type[Block], careful: bool = True) -> Document:
        """Returns settings of a block; careful ones pass its own validation, others may not."""
        own = {name: one for name, one in block.Spec.model_fields.items() if name not in WIRING}
        # Settings that act in an SAE made for them are refused in most others.
        rare = {name for name, two in examples(block.kind()).fields.items() if two.sae is not None}
        for bold in (0.6, 0.5, 0.35, 0.25, 0.15, 0.1):
            found = self._from_example(block.kind()) if self.rng.random() < 0.2 else {}
            for name, one in own.items():
                share = 1.0 if one.is_required() else max(bold, 0.8) if _grows(one) or self.over_at_once(name, one.default) else bold
                share = min(share, 0.1) if name in rare else share
                if name not in found and self.rng.random() < share:
                    found[name] = self.value(name, one.annotation, one.metadata, one.default)
            if not careful or self.fits(block, found):
                return found
        return dict(examples(block.kind()).settings)

    def fits(self, block: type[Block], settings: Document) -> bool:
        """Tells whether a block takes settings, and so many latents with them."""
        spec = valid(block, settings)
        if spec is None or block.slot not in ("encoder", "gate", "level"):
            return spec is not None
        ports = block.ports(spec)  # pyright: ignore[reportAttributeAccessIssue]
        wired = {name: (Info(port.types[0], self.width),) for name, port in ports.items() if not port.optional}
        try:
            block.produces(spec, Sizes(MODEL, self.width, wired))  # pyright: ignore[reportAttributeAccessIssue]
            block(spec, Sizes(MODEL, self.width, wired))  # pyright: ignore[reportCallIssue]
        except AssemblyError:
            return False
        except Exception:
            return True  # a block that is broken is for the test to find
        return True

    def over_at_once(self, name: str, default: Any) -> bool:
        """Tells whether a share of the run is less than a step of it."""
        return name.endswith("_frac") and isinstance(default, float) and default > 0 and round(default * self.steps) < 1

    def _from_example(self, kind: str) -> Document:
        known = examples(kind)
        if not known.fields:
            return dict(known.settings)
        name, two = self.rng.choice(sorted(known.fields.items()))
        given = {key: value for key, value in two.given.items() if key not in WIRING}
        return {**known.settings, **given, **({} if name in WIRING else {name: self.rng.choice([two.first, two.second])})}

    def value(self, name: str, annotation: Any, limits: list[Any], default: Any = None) -> Any:
        """Returns a value of a type within its limits; of a type unknown here, the default."""
        default = None if default is PydanticUndefined else default
        origin, parts = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self.value(name, parts[0], [*limits, *(m for part in parts[1:] for m in getattr(part, "metadata", [part]))], default)
        if origin is Literal:
            return self.rng.choice(parts)
        if origin in (Union, UnionType):
            others = [part for part in parts if part is not NoneType]
            if NoneType in parts and self.rng.random() < 0.4:
                return None
            return self.value(name, self.rng.choice(others), limits, default)
        if annotation is bool:
            return self.rng.random() < 0.5
        if annotation is int:
            return self._whole(limits, default)
        if annotation is float:
            return float(f"{self._number(name, limits, default):.3g}")
        if origin is list:
            found = [self._entry(name, parts[0]) for _ in range(self.rng.randint(1, 3))]
            return sorted(set(found)) if self.rng.random() < 0.85 else found
        return default

    def _entry(self, name: str, annotation: Any) -> Any:
        """Returns an entry of a list; of shares, such as leave room for others more often than not."""
        found = self.value(name, annotation, [])
        return round(4 * found) / 4 if isinstance(found, float) and 0.2 < found < 0.8 and self.rng.random() < 0.8 else found

    def _whole(self, limits: list[Any], default: Any) -> int:
        low, open_low, high, open_high = bounds(limits)
        first = int(low) + open_low if low is not None else 0
        last = int(high) - open_high if high is not None else None
        usual = max(self.width, first + 2) if last is None else min(max(self.width, first + 2), last)
        chance = self.rng.random()
        if chance < 0.15:
            return first
        if chance < 0.25:
            return usual + self.rng.randint(1, self.width) if last is None else last
        if chance < 0.35 and isinstance(default, int):
            return default
        even = [one for one in range(max(first, 1), usual + 1) if self.width % one == 0]
        return self.rng.choice(even) if even and self.rng.random() < 0.5 else self.rng.randint(first, usual)

    def _number(self, name: str, limits: list[Any], default: Any) -> float:
        low, open_low, high, open_high = bounds(limits)
        if name.endswith("_frac"):
            low, high = (0.0 if low is None else low), (1.0 if high is None else high)
            if self.rng.random() < 0.8:
                shares = [one / 20 for one in range(1, 20) if low <= one / 20 <= high and round(one / 20 * self.steps) >= 1]
                return self.rng.choice(shares or [high])
        middle = float(default) if isinstance(default, (int, float)) else 1.0
        at_end, up = self.rng.random() < 0.2, self.rng.random() < 0.5
        if low is not None and high is not None:
            near = 1.02 / self.steps if name.endswith("_frac") else 0.05 * (high - low)
            if at_end:
                return high - near * open_high if up else low + near * open_low
            return low + (high - low) * self.rng.uniform(0.02, 0.98)
        if low is None and high is None:
            return middle + self.rng.gauss(0, max(abs(middle), 1.0))
        end, sign = (low, 1.0) if low is not None else (high or 0.0, -1.0)
        reach = abs(middle - end) or 1.0
        if at_end:
            return end + sign * (reach / 100 if open_low or open_high else 0.0)
        return end + sign * reach * 10 ** self.rng.uniform(-1, 1)


def bounds(limits: list[Any]) -> tuple[float | None, bool, float | None, bool]:
    """Returns lower end, whether it is left out, upper end, whether it is left out."""
    found = {name: getattr(limit, name) for limit in limits for name in ("ge", "gt", "le", "lt") if getattr(limit, name, None) is not None}
    return found.get("gt", found.get("ge")), "gt" in found, found.get("lt", found.get("le")), "lt" in found


def _grows(one: Any) -> bool:
    """Tells whether a field counts something without bound, or lists things: defaults of those are made for larger SAEs."""
    return get_origin(one.annotation) is list or (one.annotation is int and bounds(one.metadata)[2] is None)


def valid(block: type[Block], settings: Document) -> Any:
    """Returns the settings as the block's own model, or None where it refuses them."""
    try:
        return block.Spec.model_validate({"kind": block.kind(), **settings})
    except ValidationError:
        return None


def sibling(document: Document, assembly: Assembly, rng: random.Random, blocks: Catalogue) -> Document:
    """Returns a spec of the same structure with other numbers, as far as they can be found: what a cohort may differ in."""
    width = document["width"]
    for share in (1.0, 0.6, 0.3, 0.1, 0.0):
        other = copy.deepcopy(document)
        _redraw(other, assembly, Settings(rng, width, assembly.receipt.steps), share, blocks)
        try:
            built = assemble(parse(other, blocks), model=MODEL, device="meta", blocks=blocks)
        except InvalidInput:
            continue
        if built.receipt.structure == assembly.receipt.structure:
            return other
    raise AssertionError("a spec with another seed is refused, or has another structure")


def _redraw(document: Document, assembly: Assembly, settings: Settings, share: float, blocks: Catalogue) -> None:
    rng, training = settings.rng, document["training"]
    training["seed"] = training.get("seed", 0) + 1
    for label, entry in entries(document):
        free = assembly.sae.block(label).settings
        for name, one in blocks[entry["kind"]].Spec.model_fields.items():
            # A count or weight left out on purpose is another program.
            if name in free and entry.get(name, one.default) is not None and rng.random() < share:
                entry[name] = settings.value(name, one.annotation, one.metadata, one.default)
    for owner, name in (
        (training, "optimizer"),
        (training, "schedule"),
        (document, "controller"),
        (document, "init"),
        (document, "revival"),
    ):
        if name in owner and rng.random() < share:
            kind = owner[name]["kind"]
            owner[name] = {"kind": kind, **settings.of(blocks[kind])}
    if training.get("clip_norm") is not None and rng.random() < share:
        training["clip_norm"] = rng.choice([0.1, 0.5, 1.0])
    if rng.random() < share / 2:
        training["data_seed"] = training.get("data_seed", 0) + 1


def single_blocks(model: Any, blocks: Catalogue) -> dict[str, list[str]]:
    """Returns the fields of a model that hold one block, with the kinds each may hold."""

    def within(annotation: Any) -> Iterator[str]:
        if isinstance(annotation, type) and issubclass(annotation, BlockSpec):
            yield annotation.model_fields["kind"].default
        if get_origin(annotation) is not dict:
            for part in get_args(annotation):
                yield from within(part)

    found = {name: sorted(within(one.annotation)) for name, one in model.model_fields.items()}
    return {name: kinds for name, kinds in found.items() if kinds}


def entries(document: Document) -> Iterator[tuple[str, Document]]:
    """Yields every block of the graph and every term of the loss by flat label, nested graphs themselves left out."""

    def within(graph: Document, prefix: str) -> Iterator[tuple[str, Document]]:
        for label, entry in graph.items():
            if "graph" in entry:
                yield from within(entry["graph"], f"{prefix}{label}/")
            else:
                yield f"{prefix}{label}", entry

    yield from within(document["graph"], "")
    yield from within(document.get("losses", {}), "losses/")
