"""Trains a list of specs for a benchmark and keeps what was measured, a line each, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from archsearch.activations.data import Activations
from archsearch.search.records import Status
from archsearch.search.replicates import Replicates, Row
from archsearch.training.looped import Looped
from archsearch.training.member import Member

OFTEN = 0.1
"""Share of rows from which a latent counts as often on."""


def run_grid(
    documents: Mapping[str, dict[str, Any]], path: Path, activations: Activations, more: Callable[[Member], Row] | None = None
) -> dict[str, Row]:
    """Returns what was measured of each spec by name, on validate rows at inference; trains those that `path` (JSON lines) lacks.

    `more` measures more of a trained member.
    """

    def also(member: Member) -> Row:
        controller = member.sae.controller
        strength = {} if controller is None else {"strength": float(f"{float(controller.strength):.4g}")}
        return {"often_frac": round(_often(member, activations), 4), **strength, **(more(member) if more else {})}

    return Replicates(path, activations, "cpu", Looped(), "float32", observe=_say, also=also).run(documents)


def _say(status: Status) -> None:
    if status.doing.startswith("measuring"):
        print(f"{status.doing}, {status.step_frac:.0%}", file=sys.stderr, flush=True)


@torch.no_grad()
def _often(member: Member, activations: Activations, part: int = 4096) -> float:
    """Returns the share of latents that are on in more than `OFTEN` of the validate rows."""
    parameter, rows = next(member.sae.parameters()), activations.split("validate")
    total = next(iter(rows.values())).shape[0]
    count = torch.zeros(member.sae.graph.width)
    for first in range(0, total, part):
        given = {name: values[first : first + part].to(parameter.dtype) for name, values in rows.items()}
        count += (member.sae.encode(given) != 0).sum(0).cpu()
    return float((count / total > OFTEN).double().mean())
