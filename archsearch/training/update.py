"""Between two steps: from gradients to changed parameters, for one member or for a stack of them.

The order is fixed: project gradients, clip them, let the optimizer act, renormalise (the order of published TopK trainers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from archsearch.assembler.sae import SAE
from archsearch.blocks._block import StepBlock
from archsearch.blocks.optimizers._base import Optimizer
from archsearch.blocks.schedules._base import Schedule

Moments = dict[str, dict[str, Tensor]]


@dataclass
class Rules:
    """The blocks that act between steps; their settings have a leading member axis when members are stacked (`stacked`).

    `clip_norm`: largest global gradient norm, shaped like a setting, or None for no clipping.
    """

    sae: SAE
    optimizer: Optimizer
    schedule: Schedule
    clip_norm: Tensor | None
    stacked: bool


@torch.no_grad()
def update(
    rules: Rules, parameters: dict[str, Tensor], gradients: dict[str, Tensor], moments: Moments, step: Tensor, progress: Tensor
) -> None:
    """Changes `parameters` and `moments` in place; `step` counts from 1, `progress` is the share of the run done before this step."""
    _each_block(rules.sae, parameters, gradients, "project")
    if rules.clip_norm is not None:
        _clip(gradients, rules.clip_norm, rules.stacked)
    multiplier = rules.schedule(progress)
    settings = {name: getattr(rules.optimizer, name) for name in rules.optimizer.settings}
    if "lr" in settings:
        settings["lr"] = settings["lr"] * multiplier
    shaped: dict[int, tuple[dict[str, Tensor], Tensor]] = {}
    for name, parameter in parameters.items():
        rank = parameter.dim()
        if rank not in shaped:
            shaped[rank] = ({key: _broadcast(value, rank) for key, value in settings.items()}, _broadcast(step, rank))
        numbers, count = shaped[rank]
        rules.optimizer.update(gradients[name], moments[name], parameter, numbers, count)
    _each_block(rules.sae, parameters, gradients, "renormalise")


def bounds_of(block: nn.Module) -> dict[str, Any]:
    """Returns the numbers a block's program is built with, such as the largest k, by name."""
    return {name: value for name, value in sorted(vars(block).items()) if name.endswith("_bound")}


def _broadcast(value: Tensor, rank: int) -> Tensor:
    return value if value.dim() == 0 else value.reshape(-1, *[1] * (rank - 1))


def _each_block(sae: SAE, parameters: dict[str, Tensor], gradients: dict[str, Tensor], verb: str) -> None:
    for key, block in cast(dict[str, StepBlock], sae.blocks).items():
        prefix = f"blocks.{key}."
        own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
        if own and verb == "project":
            block.project({name: gradients[prefix + name] for name in own}, own)
        elif own:
            block.renormalise(own)


def _clip(gradients: dict[str, Tensor], limit: Tensor, stacked: bool) -> None:
    first = 1 if stacked else 0
    squares = torch.stack([g.square().flatten(first).sum(-1) for g in gradients.values()])
    norm = squares.sum(0).sqrt()
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients.values():
        gradient.mul_(_broadcast(factor, gradient.dim()))
