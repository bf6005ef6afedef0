"""A member on disk: written whole or not at all, read back bit for bit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from archsearch.errors import DataError
from archsearch.training.member import Member

FORMAT = "archsearch-member-1"


def save_member(member: Member, path: Path, run: str) -> None:
    """Writes everything that moves in `member` to one safetensors file, atomically (write, flush to disk, rename).

    `run`: hash of the run, so that no other run goes on from it.
    """
    tensors = {f"sae.{name}": value.contiguous() for name, value in member.sae.state_dict().items()}
    for name, moments in member.moments.items():
        tensors |= {f"moment.{key}.{name}": value.contiguous() for key, value in moments.items()}
    state = {
        "format": FORMAT,
        "step": member.step,
        "history": member.history,
        "events": member.events,
        "failure": member.failure,
        "remark": member.remark,
        "seconds": member.seconds,
        "run": run,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(save(tensors, metadata={"state": json.dumps(state)}))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_member(member: Member, path: Path, run: str) -> bool:
    """Fills a freshly started member of the same run from a checkpoint, in place; returns False if it is another run's.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {}).get("state", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a checkpoint ({error}); delete it to train again") from None
    if state.get("format") != FORMAT or state.get("run") != run:
        return False
    _fill(member, tensors)
    member.step, member.failure, member.seconds = state["step"], state["failure"], state["seconds"]
    member.remark = state.get("remark", "")
    member.history = [(step, terms) for step, terms in state["history"]]
    member.events = [(step, name, told) for step, name, told in state["events"]]
    return True


@torch.no_grad()
def _fill(member: Member, tensors: dict[str, Any]) -> None:
    for name, value in member.sae.state_dict().items():
        value.copy_(tensors[f"sae.{name}"])
    for name, moments in member.moments.items():
        for key, value in moments.items():
            value.copy_(tensors[f"moment.{key}.{name}"])
