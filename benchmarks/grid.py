"""Trains a list of specs and keeps what was measured, a line each, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.evaluation.metrics import evaluate
from archsearch.search.jobs import Setting, run_hash
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start

Row = dict[str, Any]

AT_ONCE = 4
"""Members trained side by side."""


def run_grid(documents: Mapping[str, dict[str, Any]], path: Path, activations: Any, precision: str = "float32") -> dict[str, Row]:
    """Returns what was measured of each spec by name, on validate rows at inference; trains those that `path` (JSON lines) lacks.

    A line is found again by its run hash, so a changed spec, other data or another version of the numbers is trained anew.
    """
    setting = Setting(activations.d_model, activations.fingerprint, precision)
    done = {row["run"]: row for row in map(json.loads, path.read_text().splitlines())} if path.exists() else {}
    data, calibrate = activations.split("train"), activations.split("calibrate")
    found: dict[str, Row] = {}
    waiting: list[tuple[str, Row, Any]] = []
    begun, names = time.perf_counter(), list(documents)
    for index, name in enumerate(names):
        spec = parse(documents[name])
        run = run_hash(spec, assemble(spec, model=activations.d_model, device="meta"), setting)
        if run in done:
            found[name] = done[run]
        else:
            waiting.append((name, {"name": name, "run": run}, spec))
        if waiting and (len(waiting) == AT_ONCE or index == len(names) - 1):
            members = [start(spec, data, calibrate, precision=precision) for _, _, spec in waiting]
            train(members, Looped())
            with path.open("a") as file:
                for (name, row, _), member in zip(waiting, members, strict=True):
                    found[name] = done[row["run"]] = row | _measured(member, activations)
                    file.write(json.dumps(found[name]) + "\n")
            waiting = []
            print(f"{index + 1} of {len(names)}, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


def _measured(member: Member, activations: Any) -> Row:
    if member.failure is not None:
        return {"failure": member.failure}
    told = evaluate(member.sae, activations.split("validate"))
    row: Row = {"l0": round(told.l0, 3), "fvu": round(told.fvu, 5), "dead_frac": round(told.dead_frac, 4), "gamma": round(told.gamma, 4)}
    row |= {"often_frac": round(_often(member, activations.split("validate")), 4)}
    row |= {"flops": member.assembly.receipt.flops, "seconds": round(member.seconds, 1), "steps": member.step, "remark": member.remark}
    controller = member.sae.controller
    return row if controller is None else row | {"strength": float(f"{float(controller.strength):.4g}")}


@torch.no_grad()
def _often(member: Member, rows: dict[str, Tensor], share: float = 0.1, part: int = 4096) -> float:
    """Returns the share of latents that are on in more than `share` of the rows."""
    parameter = next(member.sae.parameters())
    total = next(iter(rows.values())).shape[0]
    count = torch.zeros(member.sae.graph.width)
    for first in range(0, total, part):
        given = {name: values[first : first + part].to(parameter.dtype) for name, values in rows.items()}
        count += (member.sae.encode(given) != 0).sum(0).cpu()
    return float((count / total > share).double().mean())
