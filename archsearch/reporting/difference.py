"""Two SAEs side by side: what their specs differ in, what was built of them, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.assembler.build import assemble
from archsearch.assembler.resolved import resolved
from archsearch.assembler.words import in_words, telling
from archsearch.blocks.catalogue import catalogue
from archsearch.reporting.front import plain
from archsearch.search.settings import blocks_of
from archsearch.spec.differences import NOTHING, Difference, differences

FORMAT = "archsearch-diff-1"

BUILT = ("parameters", "flops", "width", "dense_rank", "steps")
MEASURED = ("l0", "fvu", "ce_recovered", "dead_frac", "gamma", "cosine", "seconds")
HEADS = {
    "flops": "FLOPs of a row",
    "width": "latents",
    "dense_rank": "rank past the codes",
    "l0": "L0",
    "fvu": "FVU",
    "ce_recovered": "CE recovered",
    "dead_frac": "dead",
}


@dataclass(frozen=True)
class Side:
    """One of the two.

    `document`: its resolved spec, wires as text; `built`: its receipt; `measured`: what is known of it, empty where nothing is;
    `data`: fingerprint of the activations that was measured on, empty where it is not known.
    """

    name: str
    words: str
    document: dict[str, Any]
    built: dict[str, Any]
    measured: dict[str, float] = field(default_factory=dict)
    data: str = ""


@dataclass(frozen=True)
class Pair:
    """Two sides, and every path at which their specs differ."""

    here: Side
    there: Side
    differences: tuple[Difference, ...]

    @property
    def summary(self) -> str:
        """What they have in common, in a sentence."""
        same = self.here.built["arch"] == self.there.built["arch"]
        if not self.differences:
            return "the same SAE, trained the same way"
        return "the same architecture, trained otherwise" if same else "two architectures"

    @property
    def notes(self) -> list[str]:
        """What a reader of the measurements must know, a sentence each."""
        if self.here.data and self.there.data and self.here.data != self.there.data:
            return ["measured on different activations: the measurements of the two cannot be compared"]
        return []


def side(name: str, spec: Any, model: int, measured: Mapping[str, Any] | None = None, data: str = "") -> Side:
    """Returns a parsed spec as one side, assembled without data for activations of width `model`.

    Raises:
        InvalidInput: it cannot be assembled.
    """
    assembly = assemble(spec, model=model, device="meta")
    document = resolved(assembly)
    for _, entry in list(blocks_of(document)):
        entry.pop("of", None)  # said once, as a wire
        if isinstance(entry.get("from"), dict):
            entry["from"] = {port: _wires(wires) for port, wires in entry["from"].items()}
    receipt = assembly.receipt.as_dict()
    built = {key: receipt[key] for key in (*BUILT, "arch")}
    words = in_words(spec.model_dump(mode="json", by_alias=True))
    known = {key: float("nan") if value is None else value for key, value in (measured or {}).items()}
    return Side(name, words, document, built, known, data)


def _wires(wires: Any) -> Any:
    if not isinstance(wires, list):
        return wires
    return ", ".join(f"{wire['signal']} (detached)" if wire["detach"] else wire["signal"] for wire in wires)


def pair(here: Side, there: Side) -> Pair:
    """Returns two sides with what their specs differ in."""
    return Pair(here, there, tuple(differences(here.document, there.document)))


def pair_json(found: Pair) -> dict[str, Any]:
    """Returns a pair as plain data."""
    told = telling([found.here.words, found.there.words])
    sides = [
        {"name": one.name, "words": one.words, "different": text, "receipt": one.built, "measurements": one.measured, "spec": one.document}
        for one, text in zip((found.here, found.there), told, strict=True)
    ]
    listed = [{"path": one.path, **_ends(one)} for one in found.differences]
    return plain({"format": FORMAT, "summary": found.summary, "sides": sides, "differences": listed, "notes": found.notes})


def _ends(one: Difference) -> dict[str, Any]:
    """Returns both values of a difference; a path that one side lacks has no key there."""
    return {key: value for key, value in (("here", one.here), ("there", one.there)) if value is not NOTHING}


def print_pair(found: Pair, console: Console) -> None:
    """Prints what two SAEs differ in: in words, path by path, and in numbers."""
    sides = (found.here, found.there)
    console.print(Text(f"{found.here.name} -> {found.there.name}: {found.summary}", style="bold"), soft_wrap=True)
    for one, words in zip(sides, telling([one.words for one in sides]), strict=True):
        console.print(Text(f"  {one.name}: {words}"), soft_wrap=True)
    console.print()
    for line in lines(found):
        console.print(Text(line), soft_wrap=True)
    table = Table(box=SIMPLE, pad_edge=False)
    for index, head in enumerate(("", found.here.name, found.there.name, "difference")):
        table.add_column(Text(head), justify="right" if index else "left", overflow="fold")
    for row in number_rows(found):
        table.add_row(*map(Text, row))
    console.print(table)
    for note in found.notes:
        console.print(Text(note), soft_wrap=True)


def lines(found: Pair) -> list[str]:
    """Returns every difference as a line `path: here -> there`; a block of another kind, or that one of them lacks, as one line."""
    here, there = (dict(blocks_of(one.document)) for one in (found.here, found.there))
    others = [path for path in {**here, **there} if here.get(path, {}).get("kind") != there.get(path, {}).get("kind")]
    whole = [path for path in others if not any(path.startswith(f"{above}.") for above in others)]
    told = {path: f"{path}: {_block(here.get(path))} -> {_block(there.get(path))}" for path in whole}
    for one in found.differences:
        if not any(one.path == path or one.path.startswith(f"{path}.") for path in whole):
            told[one.path] = f"{one.path}: {_shown(one.here)} -> {_shown(one.there)}"
    return [told[path] for path in sorted(told)]


def _block(entry: Mapping[str, Any] | None) -> str:
    """Returns a block in words, with the settings that are not as they are by default."""
    if entry is None:
        return repr(NOTHING)
    block = catalogue().blocks.get(entry["kind"])
    fields = block.Spec.model_fields if block is not None else {}
    defaults = {field.alias or name: field.get_default(call_default_factory=True, validated_data={}) for name, field in fields.items()}
    moving = block.sparsity if block is not None else ""
    told = [name for name, value in entry.items() if name not in _WORDED and (value != defaults.get(name, NOTHING) or name == moving)]
    changed = [f"{name} {_shown(entry[name])}" for name in told]
    return f"{entry['kind']} ({', '.join(changed)})" if changed else entry["kind"]


_WORDED = ("kind", "from", "graph")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def number_rows(found: Pair) -> list[tuple[str, ...]]:
    """Returns receipts and measurements side by side as text: name, here, there, and how far there lies from here."""
    rows = []
    for key in (*BUILT, *MEASURED):
        group = "built" if key in BUILT else "measured"
        values = [getattr(one, group).get(key) for one in (found.here, found.there)]
        if any(value is not None for value in values):
            comparable = group == "built" or not found.notes
            rows.append((HEADS.get(key, key), *map(_number, values), _far(values) if comparable else "-"))
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _far(values: Sequence[float | None]) -> str:
    one, other = values
    if one is None or other is None or not (math.isfinite(one) and math.isfinite(other)):
        return "-"
    return "equal" if one == other else f"{100 * (other - one) / abs(one):+.1f}%" if one else f"{other - one:+g}"
