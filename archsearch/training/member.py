"""One SAE in training: everything that moves, and the events that happen to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from archsearch.activations.model_windows import ModelWindows
from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.sae import SAE
from archsearch.assembler.splices import no_model, points_of, spliced_nodes
from archsearch.errors import DataError, InvalidInput
from archsearch.spec.seeds import seed_of
from archsearch.training.batches import Batches
from archsearch.training.update import Moments
from archsearch.training.view import view
from archsearch.training.window_batches import WindowBatches

Rows = dict[str, Tensor]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Precision of the run -> dtype parameters are kept in; `bfloat16` computes products in 16 bits on 32-bit parameters."""


@dataclass
class Member:
    """One SAE in training.

    `step`: optimizer steps done; `history`: (step, loss terms) at intervals; `events`: what happened, by step; `failure`: why it stopped
    early, in a sentence; `remark`: what its user should know of how it ended, in a sentence; `seconds`: time spent in its steps (a share
    of the cohort's when stacked); `calibrate`: rows of that split by input name, which events may look at.
    """

    assembly: Assembly
    batches: Batches
    precision: str
    moments: Moments
    calibrate: Rows
    step: int = 0
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    events: list[tuple[int, str, dict[str, float]]] = field(default_factory=list)
    failure: str | None = None
    remark: str = ""
    seconds: float = 0.0

    @property
    def sae(self) -> SAE:
        """The module."""
        return self.assembly.sae

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.assembly.receipt.steps

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        return self.failure is not None or self.step >= self.total_steps

    def parameters(self) -> dict[str, Tensor]:
        """Returns the learned tensors by name."""
        return dict(self.sae.named_parameters())

    def next_stop(self) -> int:
        """Returns the step at which the next event is due, or the end of the run."""
        events = self.assembly.receipt.events
        due = [step for name in ("revival", "controller") for step in events.get(name, []) if step > self.step]
        return min([*due, self.total_steps])


def start(
    spec: Any,
    train: Rows,
    calibrate: Rows,
    *,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    blocks: Any = None,
    windows: Callable[[], ModelWindows | None] | None = None,
) -> Member:
    """Assembles and initialises one SAE on its data.

    `windows` opens the windows of the train split with their model, where activations have one (`Activations.windows`); it is called only
    for an SAE that is trained through the model.

    Shapes: `train` and `calibrate` hold [rows, model] by input name, in the spec's order of inputs.

    Raises:
        AssemblyError: the spec's parts do not fit together.
        InvalidInput: the SAE is trained through a language model, and there is none, or a batch holds no whole windows.
        DataError: the activations do not fit the spec.
    """
    widths = {values.shape[-1] for values in train.values()}
    if set(train) != set(spec.inputs) or len(widths) != 1:
        raise DataError(f"the spec reads {list(spec.inputs)}; the activations give { ({n: tuple(v.shape) for n, v in train.items()}) }")
    dtype = PRECISIONS[precision]
    assembly = assemble(spec, model=widths.pop(), device=device, dtype=dtype, blocks=blocks)
    assembly.sae.fit_scales({name: values.to(device=device, dtype=torch.float32) for name, values in calibrate.items()})
    training = spec.training
    batches = _batches(assembly, train, dtype, windows)
    moments = {name: assembly.optimizer.moments(value.detach()) for name, value in assembly.sae.named_parameters()}
    member = Member(assembly, batches, precision, moments, calibrate)
    generator = torch.Generator().manual_seed(seed_of("init", training.seed))
    assembly.init.start(view(member), generator)
    return member


def _batches(assembly: Assembly, train: Rows, dtype: torch.dtype, windows: Callable[[], ModelWindows | None] | None) -> Batches:
    """Returns batches of rows, or of windows where a block is handed a splice."""
    training, graph = assembly.spec.training, assembly.graph
    if not spliced_nodes(graph):
        return Batches(train, training.batch, training.data_seed, dtype)
    opened = windows() if windows is not None else None
    if opened is None:
        raise InvalidInput([*no_model(graph)])
    return WindowBatches(train, training.batch, training.data_seed, dtype, opened, tuple(graph.outputs), points_of(graph))
