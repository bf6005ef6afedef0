"""Where numbers came from: versions, machine, activations."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import torch

from archsearch.blocks.catalogue import catalogue

PACKAGES = ("archsearch", "torch", "optuna", "numpy", "transformer-lens", "transformers")

NUMERICS = 6
"""Raised whenever the same spec would train to other numbers; part of every run hash."""


def provenance(activations: Any, device: str, precision: str, executor: str) -> dict[str, Any]:
    """Returns what a reader needs to repeat a study: versions, machine, precision and the fingerprint of the data."""
    return {
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        },
        "device": device,
        "precision": precision,
        "executor": executor,
        "numerics": NUMERICS,
        "blocks": catalogue().foreign,
        "activations": {"fingerprint": activations.fingerprint, **activations.provenance},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
