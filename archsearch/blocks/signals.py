"""What flows between blocks: typed signals, and the ports that read them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum


class Signal(StrEnum):
    """Type of a signal. The first four carry a batch and may carry a level axis in front of it."""

    ACTIVATION = "activation"  # [batch, model]
    PRE = "pre"  # [batch, latent], before the gate
    CODE = "code"  # [batch, latent]
    ACTIVE = "active"  # [batch, latent], 1 where a latent is on, with a pseudo-gradient to what switches it
    RECONSTRUCTION = "reconstruction"  # [batch, model]
    DICTIONARY = "dictionary"  # [latent, model], rows speak for latents
    BIAS = "bias"  # [model], added to a reconstruction
    WEIGHT = "weight"  # [latent, model], rows an encoder projects on
    THRESHOLD = "threshold"  # [latent], what a pre-activation must exceed
    IDLE = "idle"  # [latent], share of the run since each latent last fired
    LOSS = "loss"  # scalar


SPACE = (Signal.ACTIVATION, Signal.RECONSTRUCTION)
"""Types that live in the model's space."""

PARAMETERS = (Signal.DICTIONARY, Signal.BIAS, Signal.WEIGHT, Signal.THRESHOLD)
"""Types that are functions of parameters alone: sources, so that reading them never makes a cycle."""


class Given(StrEnum):
    """What the executor hands a block in training besides its ports."""

    PROGRESS = "progress"  # scalar, share of the run done before this step
    UNIFORM = "uniform"  # [batch, latent], uniform on [0, 1), drawn afresh every step from (seed, step, block)
    LATENT_UNIFORM = "latent_uniform"  # [latent], one such number per latent: an order of the latents, or a choice among them
    SPLICE = "splice"  # `Splice`: the windows of the batch, and the language model with reconstructions in place of its activations


@dataclass(frozen=True)
class Info:
    """What is known of one signal before anything runs: type, width of its last axis, number of levels (0: no level axis)."""

    type: Signal
    size: int
    levels: int = 0

    def as_type(self, type: Signal, size: int | None = None) -> Info:
        """Returns a signal of another type (and width) with the same levels."""
        return replace(self, type=type, size=self.size if size is None else size)


@dataclass(frozen=True)
class Port:
    """An input of a block.

    `types`: what may be wired to it. `default`: where an unwired port reads from: `previous` (main output of the block before),
    `input` (the SAE's first input), `target` (what is to be rebuilt; of several targets, the one whose reconstruction the block reads),
    `output` (the SAE's reconstruction; of several, that of the target the block reads), `outputs` (the reconstruction of every target, for
    a port that takes a list), `code` (the code of the dictionary), `pre` (what that code was made from), `active` or `threshold` (of the
    gate that made it) or `dictionary` (the signal of the port's type that belongs to the block's dictionary: of several decoders the one
    that rebuilds the hook point the block works at, or all of them for a port that takes a list). `many`: takes a list. `levels`: whether
    a level axis is accepted.
    """

    types: tuple[Signal, ...]
    default: str = "previous"
    optional: bool = False
    detach: bool = False
    many: bool = False
    levels: bool = False


@dataclass(frozen=True)
class Sizes:
    """Every size a block needs; the assembler derives them, a spec never repeats them.

    `model`: width of the model's space; `latent`: latents this block works on; `inputs`: what is wired to each port.
    """

    model: int
    latent: int
    inputs: dict[str, tuple[Info, ...]] = field(default_factory=dict)

    def bound(self, count: int) -> int:
        """Returns `count` cut to the number of latents: the static bound of a per-row count."""
        return min(count, self.latent)

    def wired(self, port: str) -> bool:
        """Tells whether anything is wired to `port`."""
        return bool(self.inputs.get(port))
