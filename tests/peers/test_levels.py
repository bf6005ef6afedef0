"""Weights of Matryoshka levels: dictionary_learning's group weights and SAELens' sum, each said in full."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from sae_lens.saes.matryoshka_batchtopk_sae import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig

from archsearch.training.looped import Looped
from archsearch.training.stacked import Stacked
from tests.peers import dl, sl
from tests.peers.harness import Pair, document, pair, same_run, same_step

pytestmark = pytest.mark.peer

K = 6
WEIGHTS = {"even": None, "unequal": [0.1, 0.2, 0.7], "one for nothing": [0.0, 2.0, 0.5]}
LEVELS = {"kind": "matryoshka", "prefixes": [0.125, 0.5]}
SLOW = {"kind": "adam", "lr": 0.002}


def _ours(levels: str, weights: list[float], memory: int, **more: Any) -> dict[str, Any]:
    losses = {"reconstruction": {"kind": "squared_error", "levels": levels, "level_weights": weights}}
    gate = {"kind": "batch_topk", "k": K, "memory": memory}
    return document(gate, losses, level=LEVELS, clip_norm=1.0, optimizer=SLOW, **more)


def learning(weights: list[float] | None) -> tuple[Any, Pair]:
    """Returns its trainer, without the auxiliary loss, and ours; its weights are 1 / groups each by default."""
    groups = {"group_fractions": [0.125, 0.375, 0.5], "group_weights": weights}
    trainer = dl.trainer(
        MatryoshkaBatchTopKTrainer, k=K, auxk_alpha=0.0, lr=SLOW["lr"], threshold_start_step=0, threshold_beta=0.5, **groups
    )
    return trainer, pair(_ours("mean", weights or [1 / 3] * 3, 2), trainer.ae, dl.MATRICES)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_a_step_is_dictionary_learning(weights: list[float] | None):
    """The mean over levels of `w_l * error_l`."""
    trainer, both = learning(weights)
    with dl.in_double():
        loss = trainer.loss(both.batch(0), step=dl.STEADY)
    same_step(both, loss, {"reconstruction": loss})


@pytest.mark.parametrize("executor", [Looped, Stacked])
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_a_run_is_dictionary_learning(weights: list[float] | None, executor: type, monkeypatch: pytest.MonkeyPatch):
    dl.project_alike(monkeypatch)
    trainer, both = learning(weights)

    def update(step: int, batch: torch.Tensor) -> None:
        with dl.in_double():
            trainer.update(step + 1, batch)

    same_run(both, update, infer=False, executor=executor)


def test_a_step_and_a_run_are_saelens():
    """The sum of the errors of all levels, the whole code's among them."""
    settings = {"matryoshka_widths": [3, 12, 24], "topk_threshold_lr": 1.0, "aux_loss_coefficient": 0.0}
    sae = sl.build(
        MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig, k=K, rescale_acts_by_decoder_norm=False, **settings
    )
    both = pair(_ours("sum", [1.0, 1.0, 1.0], 1, norm="free"), sae, sl.MATRICES)
    told = sl.forward(sae, both.batch(0))
    same_step(both, told.loss, {"reconstruction": told.loss})
    same_run(both, sl.updates(sae, lr=SLOW["lr"], dead_feature_window=1), infer=False)
