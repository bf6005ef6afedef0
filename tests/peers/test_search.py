"""The space of benchmarks/search.py: every branch means the same to SAELens, as the benchmark trains it, and to us."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.search_peers import trainer_of, training_sae
from benchmarks.search_space import documents, middle, space_of
from tests.peers import sl
from tests.peers.harness import BATCH, MODEL, STEPS, WIDTH, pair, same_run

pytestmark = pytest.mark.peer

GATED = {f"gate.{name}": (name, False) for name in ("r_mag", "b_gate", "b_mag")}
NAMES = {
    "gated": {name: theirs for name, theirs in sl.MATRICES.items() if name != "encoder.bias"} | GATED,
    "jumprelu": sl.MATRICES | {"gate.theta": ("threshold", False)},
}


def _small(branch: str) -> dict[str, Any]:
    """Returns the middle of a branch, small enough for the harness, on activations as they are."""
    document = middle(space_of(documents(0)), branch)
    if "k" in document["graph"]["gate"]:
        document["graph"]["gate"]["k"] = 6
    training = document["training"] | {"tokens": BATCH * STEPS, "batch": BATCH}
    return document | {"width": WIDTH, "scale": {"kind": "scaling", "power": 0}, "training": training}


@pytest.mark.parametrize("branch", space_of(documents(0)).parameters()["gate"].values())
def test_a_branch_trains_alike(branch: str):
    """Ten steps, each by its own loop: clip at 1, Adam, and a rate that falls over the last fifth."""
    document = _small(branch)
    sae = training_sae(document, d_in=MODEL, dtype="float64")
    if branch == "jumprelu":
        sae.threshold = nn.Parameter(sae.threshold.detach().double())
    theta = {"gate__theta": torch.linspace(0.5, 0.9, WIDTH, dtype=torch.float64)} if branch == "jumprelu" else {}
    both = pair(document, sae, NAMES.get(branch, sl.MATRICES), **theta)
    trainer: Any = trainer_of(document, sae, both.member.batches.rows["x"], 0)

    def update(step: int, batch: torch.Tensor) -> None:
        trainer.step(batch)
        trainer.n_training_steps += 1

    same_run(both, update, infer=branch in ("relu", "gated", "jumprelu", "topk"))
