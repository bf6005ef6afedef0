"""Which precision a device is best used with."""

from __future__ import annotations

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
