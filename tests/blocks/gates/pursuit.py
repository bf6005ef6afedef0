"""What the tests of gates that choose latents one after another share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import Case, Two

CASES = (
    Case(),
    Case({"k": 100}),
    Case({"k": 1}),
    Case({"tolerance": 0.5}),
    Case({"k_start": 6, "anneal_frac": 0.75}),
)
FIELDS = {
    "k": Two(2, 5),
    "tolerance": Two(0.0, 0.6),
    "k_start": Two(5, 10, {"anneal_frac": 0.75}),
    "anneal_frac": Two(0.5, 1.0, {"k_start": 9}),
    "anneal": Two("linear", "exponential", {"k_start": 10, "anneal_frac": 0.75}),
}


def sae(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns an SAE in which the gate reads inner products with the decoder's rows."""
    return {
        "width": 12,
        "graph": {
            "center": "pre_bias",
            "encoder": {"kind": "tied_encoder", "bias": False},
            "gate": spec,
            "decoder": "linear_decoder",
        },
        "training": {"tokens": 128, "batch": 16, "optimizer": {"kind": "adam", "lr": 0.02}},
    }


def built(cls: type, latent: int, model: int, **settings: Any) -> Any:
    """Returns a gate of so many latents."""
    return cls(cls.Spec(**settings), Sizes(model, latent, {"dictionary": (Info(Signal.DICTIONARY, model),)}))


def unit(rows: int, model: int, seed: int = 0) -> torch.Tensor:
    """Returns random unit rows in float64."""
    drawn = torch.randn(rows, model, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=-1, keepdim=True)


def activations(rows: int, model: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, model, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hopeless(latent: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Returns pre-activations and dictionaries with which little can be done, by name."""
    rows = unit(latent, 4)
    x = activations(3, 4)
    alike, nothing = rows.clone(), rows.clone()
    alike[1:] = alike[0]
    nothing[0] = 0
    return {
        "all zero": (torch.zeros(3, latent, dtype=torch.float64), rows),
        "all negative": (-torch.ones(3, latent, dtype=torch.float64), rows),
        "rows all alike": (x @ alike.T, alike),
        "a row of zeros": (x @ nothing.T, nothing),
        "more latents than dimensions, all equal": (torch.ones(3, latent, dtype=torch.float64), rows),
    }


def finite(gate: Any, pre: torch.Tensor, rows: torch.Tensor) -> np.ndarray:
    """Checks that codes and gradients are finite and codes not negative; returns the codes."""
    pre, rows = pre.clone().requires_grad_(), rows.clone().requires_grad_()
    code = gate(pre, rows)["code"]
    (code @ rows).square().sum().backward()
    for value in (code, pre.grad, rows.grad):
        assert value is not None and value.isfinite().all()
    assert (code >= 0).all() and ((code != 0).sum(-1) <= gate.k).all()
    return code.detach().numpy()
