"""What every comparison with SAELens shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import TrainStepInput, TrainStepOutput
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor, nn

from tests.peers.harness import BATCH, LR, MODEL, STEPS, WIDTH, linear

MATRICES = linear("W_enc", "b_enc", "W_dec", "b_dec", nn_linear=False)


def build(cls: type, config: type, **settings: Any) -> Any:
    """Returns a training SAE in float64; its threshold too, which it keeps in float32."""
    sae = cls(config(d_in=MODEL, d_sae=WIDTH, dtype="float64", device="cpu", **settings))
    if "threshold" in dict(sae.named_parameters()):
        sae.threshold = nn.Parameter(sae.threshold.detach().double())
    return sae


def forward(sae: Any, batch: Tensor, coefficients: dict[str, float] | None = None, dead: Tensor | None = None) -> TrainStepOutput:
    """Runs the training step's forward pass."""
    step = TrainStepInput(sae_in=batch, coefficients=coefficients or {}, dead_neuron_mask=dead, n_training_steps=0, is_logging_step=False)
    return sae.training_forward_pass(step)


def updates(sae: Any, **settings: Any) -> Callable[[int, Tensor], TrainStepOutput]:
    """Returns the package's own training step, as a function of (step, batch)."""
    settings = {"lr": LR, "lr_end": settings.get("lr", LR), **settings}
    config = SAETrainerConfig(total_training_samples=BATCH * STEPS, train_batch_size_samples=BATCH, **settings)
    trainer: Any = SAETrainer(config, sae, iter(()))

    def update(step: int, batch: Tensor) -> TrainStepOutput:
        assert trainer.n_training_steps == step
        told = trainer.step(batch)
        trainer.n_training_steps += 1
        return told

    return update


def dead_after(steps_without: int) -> float:
    """Returns our `dead_after_frac` for `dead_feature_window=steps_without`: dead after *more* steps than that without, before this one."""
    return (steps_without + 0.5) / STEPS


def mask(*latents: int) -> Tensor:
    """Returns a mask that calls these latents dead."""
    dead = torch.zeros(WIDTH, dtype=torch.bool)
    dead[list(latents)] = True
    return dead
