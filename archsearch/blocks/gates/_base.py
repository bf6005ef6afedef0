"""Contract of the gate slot: from pre-activations to a sparse code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import StepBlock
from archsearch.blocks.signals import Port, Signal
from archsearch.errors import InvalidInput


@dataclass(frozen=True)
class Folded:
    """Another gate that gives the same codes at inference: its settings as a spec has them, and values of its parameters by name.

    It reads the same ports. Values may have fewer axes than the parameters they go to, all of whose entries are then alike.
    """

    settings: dict[str, Any]
    parameters: dict[str, Tensor]


class Gate(StepBlock, abstract=True):
    """Decides which latents are on and how strongly.

    Shapes: `pre` [batch, latent] -> `code` [batch, latent], the main output; a latent is on where its code is not zero.
    """

    slot = "gate"
    inputs = {"pre": Port((Signal.PRE,))}
    outputs = {"code": Signal.CODE}
    soft: ClassVar[bool] = False
    """Whether codes in training are nonzero where those at inference are not: firing is then counted on the latter."""
    no_threshold: ClassVar[str] = "what it keeps is not what exceeds a threshold"
    """Why no gate of thresholds gives its codes, for a gate that has no `folded` of its own."""

    def calibrate(self, **ports: Tensor) -> dict[str, Tensor]:
        """Returns new values of state from the gate's ports on calibrate rows (event, once, at the end of the run)."""
        return {}

    def folded(self, cutoff: Float[Tensor, " latent"]) -> Folded:
        """Returns a gate of thresholds alone that gives this one's codes at inference (event, after training).

        `cutoff`: entries of the code smaller in size are zero at inference; zeros where nothing is cut.

        Raises:
            InvalidInput: there is no such gate; says why, and what could be done.
        """
        raise InvalidInput(
            [f"{self.no_threshold}; use the SAE as it is, or train a gate of thresholds, such as `jumprelu` or `batch_topk`"]
        )


def above(least: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Returns `theta` such that `h > theta` holds where `h >= least` and `h > 0` do: the number before `least`, zero at least."""
    return torch.nextafter(least, torch.full_like(least, -torch.inf)).clamp(min=0)


def jumping(theta: Float[Tensor, "*shape"]) -> Folded:
    """Returns the gate that keeps a pre-activation, unchanged, where it exceeds its latent's `theta`."""
    return Folded({"kind": "jumprelu"}, {"theta": theta})
