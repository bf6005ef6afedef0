"""Which precision a device is best used with, and computing in it."""

from __future__ import annotations

from contextlib import nullcontext

import torch


def best_precision(device: str | torch.device) -> str:
    """Returns `bfloat16` where the hardware multiplies 16-bit numbers natively, else `float32`.

    The processor is asked, never assumed: without such units 16-bit products are emulated and slower.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if kind == "cpu":
        capable = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        return "bfloat16" if capable() else "float32"
    return "float32"


def computing(precision: str, device: torch.device):
    """Returns the context products are computed in."""
    # All threads share one cache of weights in 16 bits, which whoever leaves first clears: a weight that is read twice was cast once or
    # twice as it happened, and its gradients were added up in 16 bits or in 32.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if precision == "bfloat16" else nullcontext()
