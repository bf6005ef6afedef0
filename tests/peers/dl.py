"""What every comparison with dictionary_learning shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from archsearch.blocks.decoders.linear_decoder import LinearDecoder
from tests.peers.harness import LR, MODEL, STEPS, WIDTH, linear

AUTOENCODER = linear("encoder.weight", "encoder.bias", "decoder.weight", "bias", nn_linear=True)
TOPK = linear("encoder.weight", "encoder.bias", "decoder.weight", "b_dec", nn_linear=True)
MATRICES = linear("W_enc", "b_enc", "W_dec", "b_dec", nn_linear=False)

STEADY = 1
"""A step for `loss` that is not the first: step 0 of the TopK trainers moves the decoder bias to the data's median."""


def trainer(cls: type, **settings: Any) -> Any:
    """Returns a trainer in float64 on the CPU, with a constant learning rate unless told otherwise."""
    defaults = {"steps": STEPS, "lr": LR, "warmup_steps": 0, "layer": 0, "lm_name": "none", "device": "cpu", "seed": 0}
    with in_double():
        built = cls(activation_dim=MODEL, dict_size=WIDTH, **(defaults | settings))
    built.ae.to(torch.float64)
    return built


@contextmanager
def in_double() -> Iterator[None]:
    """Reads the package's `.float()` casts as `.double()` and its untyped tensors as float64.

    What it computes in float32 on purpose is then comparable at 1e-9; its arithmetic stays its own.
    """
    plain, default = torch.Tensor.float, torch.get_default_dtype()
    torch.Tensor.float = torch.Tensor.double  # pyright: ignore
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.Tensor.float = plain
        torch.set_default_dtype(default)


def project_alike(patch: pytest.MonkeyPatch) -> None:
    """Makes our projection divide by `|d| + 1e-6` as the package's does outside `ConstrainedAdam`; ours takes the norm to be 1."""

    def project(self: LinearDecoder, gradients: dict[str, Tensor], parameters: dict[str, Tensor]) -> None:
        rows = parameters["dictionary"] / (parameters["dictionary"].norm(dim=-1, keepdim=True) + 1e-6)
        gradients["dictionary"] -= (gradients["dictionary"] * rows).sum(-1, keepdim=True) * rows

    patch.setattr(LinearDecoder, "project", project)
