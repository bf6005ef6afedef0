"""What `auto` stands for on this machine: device, executor and precision."""

from __future__ import annotations

import torch

from archsearch.errors import InvalidInput, nearest
from archsearch.training.precision import best_precision

EXECUTORS = ("looped", "stacked")


def resolve_machine(device: str, executor: str, precision: str) -> tuple[str, str, str]:
    """Returns device, executor and precision by name, `auto` resolved.

    Raises:
        InvalidInput: the device cannot be used here, or there is no such executor.
    """
    chosen = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError):
        raise InvalidInput([f"device {device!r} cannot be used on this machine; `--device cpu` can"]) from None
    if executor == "auto":
        executor = "stacked" if chosen.startswith("cuda") else "looped"
    if executor not in EXECUTORS:
        raise InvalidInput([f"unknown executor {executor!r}; {nearest(executor, [*EXECUTORS, 'auto'])}"])
    return chosen, executor, best_precision(chosen) if precision == "auto" else precision
