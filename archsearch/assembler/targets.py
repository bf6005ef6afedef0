"""Terms of the loss that say nothing of which target they are about: one for each target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from archsearch.blocks.catalogue import Catalogue
from archsearch.spec.block import LossSpec, Wire

_NO_LABEL = re.compile(r"[^A-Za-z0-9_-]")


def terms_of(given: Mapping[str, LossSpec], inputs: Sequence[str], outputs: Mapping[str, str], blocks: Catalogue) -> dict[str, LossSpec]:
    """Returns the terms of a loss by label, one of each target for those that name neither a target nor a reconstruction.

    The first, in the order of the inputs, keeps its label; the others are called by it and their target's name. With a single target
    there is nothing to write out.
    """
    targets = [name for name in inputs if name in outputs]
    if len(targets) < 2:
        return dict(given)
    found: dict[str, LossSpec] = {}
    for label, term in given.items():
        open_ports = _open(term, blocks)
        if open_ports is None:
            found[label] = term
            continue
        for target in targets:
            wires = {
                port: [Wire(signal=target if default == "target" else outputs[target], detach=None)] for port, default in open_ports.items()
            }
            name = label if target == targets[0] else _label(label, target, {*given, *found})
            found[name] = term.model_copy(update={"from_": {**_written(term, blocks), **wires}})
    return found


def _open(term: LossSpec, blocks: Catalogue) -> dict[str, str] | None:
    """Returns the ports of a term that read one target or what rebuilds it, with their defaults; None where one of them is wired."""
    ports = _ports(term, blocks)
    about = {port: rule.default for port, rule in ports.items() if rule.default in ("target", "output")}
    wired = {*_written(term, blocks), *([next(iter(ports))] if term.of is not None else [])}
    return about if about and not wired & {*about} else None


def _ports(term: LossSpec, blocks: Catalogue) -> dict[str, Any]:
    block: Any = blocks[term.kind]
    return block.ports(term)


def _written(term: LossSpec, blocks: Catalogue) -> dict[str, list[Wire]]:
    wiring = term.from_
    if isinstance(wiring, dict):
        return dict(wiring)
    return {next(iter(_ports(term, blocks))): list(wiring)} if wiring else {}


def _label(label: str, target: str, taken: set[str]) -> str:
    name = f"{label}_{_NO_LABEL.sub('_', target)}"
    while name in taken:
        name += "_"
    return name
