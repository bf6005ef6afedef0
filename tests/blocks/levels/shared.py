"""What the tests of levels of prefixes share: references in plain Python, and two values of each setting they have in common."""

from __future__ import annotations

import numpy as np

from tests.blocks.harness import Two

LEVELLED = {
    "bias_level": Two(False, True),
    "order": Two("index", "frequency"),
    "decay": Two(0.1, 0.9, given={"order": "frequency"}),
}


def nested(settings, code, counts, tensors) -> np.ndarray:
    """Returns a copy of the code for every count, with zeros where a latent is not among the first."""
    latents = range(code.shape[1])
    order = sorted(latents, key=lambda latent: (-tensors["usage"][latent], latent)) if "usage" in tensors else list(latents)
    levels = []
    for count in [0, *counts] if settings["bias_level"] else counts:
        kept = code.copy()
        kept[:, order[count:]] = 0
        levels.append(kept)
    return np.stack(levels)


def usage(settings, ports, tensors) -> dict[str, np.ndarray]:
    """Returns the running use after the batch, where the order moves."""
    if settings["order"] == "index":
        return {}
    code, now = ports["code"], np.zeros(ports["code"].shape[1])
    for latent in range(len(now)):
        if settings["order"] == "frequency":
            now[latent] = sum(row[latent] != 0 for row in code) / len(code)
        else:
            size = np.sqrt(sum(entry**2 for entry in ports["dictionary"][latent]))
            now[latent] = sum((row[latent] * size) ** 2 for row in code) / len(code)
    return {"usage": settings["decay"] * tensors["usage"] + (1 - settings["decay"]) * now}
