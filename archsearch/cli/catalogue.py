"""`blocks` and `schema`: what a spec may say."""

from __future__ import annotations

import inspect
import json
from argparse import Namespace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.blocks._block import Block, StepBlock
from archsearch.blocks.catalogue import catalogue
from archsearch.spec.schema import sae_schema, space_schema

OURS = "archsearch"
"""Where a block is from that comes with this package."""


def blocks(args: Namespace) -> int:
    """Lists the catalogue, or shows one block.

    Raises:
        InvalidInput: no block bears that name.
    """
    found = catalogue()
    chosen = [found[args.kind]] if args.kind else sorted(found.blocks.values(), key=lambda block: (block.slot, block.kind()))
    told = [describe(block) for block in chosen]
    if args.json:
        print(json.dumps(told[0] if args.kind else told, indent=1))
    elif args.kind:
        _show(told[0], chosen[0])
    else:
        _list(told)
    return 0


def schema(args: Namespace) -> int:
    """Prints the JSON Schema of space or SAE files."""
    grammar = catalogue().grammar
    print(json.dumps(space_schema(grammar) if args.which == "space" else sae_schema(grammar), indent=1))
    return 0


def describe(block: type[Block]) -> dict[str, Any]:
    """Returns a block as plain data: slot, kind, where it is from, what it does, paper, settings, ports and outputs."""
    properties = block.Spec.model_json_schema(by_alias=True)
    required = properties.get("required", [])
    settings = {name: _setting(name, entry, name in required) for name, entry in properties["properties"].items() if name != "kind"}
    step = issubclass(block, StepBlock)
    return {
        "slot": block.slot,
        "kind": block.kind(),
        "from": catalogue().foreign.get(block.kind(), {}).get("from", OURS),
        "summary": (block.__doc__ or "").strip().splitlines()[0],
        "paper": block.paper.model_dump() if block.paper else None,
        "settings": settings,
        "reads": {name: [str(type) for type in port.types] for name, port in block.inputs.items()} if step else {},
        "gives": {name: str(type) for name, type in block.outputs.items()} if step else {},
        "exposes": {name: str(type) for name, type in block.exposes.items()} if step else {},
    }


_BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "minLength": "length >=",
    "minItems": "items >=",
}


_WIRES = ("from", "of")


def _setting(name: str, entry: dict[str, Any], required: bool) -> dict[str, Any]:
    bounds = [f"{sign} {entry[key]}" for key, sign in _BOUNDS.items() if key in entry]
    return {
        "type": "signal" if name in _WIRES else _type(entry),
        **({} if required else {"default": entry.get("default")}),
        "required": required,
        "bounds": ", ".join(bounds),
        "description": entry.get("description", ""),
    }


def _type(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return " | ".join(map(str, entry["enum"]))
    if "const" in entry:
        return str(entry["const"])
    if "anyOf" in entry:
        return " | ".join(dict.fromkeys(_type(member) for member in entry["anyOf"]))
    if "$ref" in entry:
        return entry["$ref"].rsplit("/", 1)[-1]
    return str(entry.get("type", "anything"))


def _list(told: list[dict[str, Any]]) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    mixed = any(block["from"] != OURS for block in told)
    for head in ("slot", "kind", "what it does", *(["from"] if mixed else [])):
        table.add_column(head, no_wrap=head in ("slot", "kind"))
    before = ""
    for block in told:
        origin = [Text("" if block["from"] == OURS else block["from"])] if mixed else []
        table.add_row("" if block["slot"] == before else block["slot"], block["kind"], Text(block["summary"]), *origin)
        before = block["slot"]
    console.print(table)
    console.print(Text("`archsearch blocks KIND` shows a block's settings and ports."))


def _show(told: dict[str, Any], block: type[Block]) -> None:
    console = Console()
    paragraphs = inspect.cleandoc(block.__doc__ or "").split("\n\n")
    doc = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    console.print(Text(f"{told['kind']} ({told['slot']})", style="bold"))
    console.print(Text(doc))
    if told["from"] != OURS:
        console.print(Text(f"\nfrom: {told['from']}"), soft_wrap=True)
    if told["paper"]:
        paper = told["paper"]
        console.print(Text(f"\npaper: {paper['title']}, {paper['where']}\n       {paper['url']}"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_edge=False)
    for head in ("setting", "default", "allowed", "description"):
        table.add_column(head)
    for name, setting in told["settings"].items():
        default = "(must be given)" if setting["required"] else json.dumps(setting["default"])
        allowed = "; ".join(part for part in (setting["type"], setting["bounds"]) if part)
        table.add_row(name, Text(default), Text(allowed), Text(setting["description"]))
    if told["settings"]:
        console.print("")
        console.print(table)
    for verb in ("reads", "gives", "exposes"):
        parts = [f"{name} ({' or '.join([types] if isinstance(types, str) else types)})" for name, types in told[verb].items()]
        if parts:
            console.print(Text(f"\n{verb}: {', '.join(parts)}"))
