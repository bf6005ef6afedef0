"""The assembler: builds the module of a spec from its wired graph."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from archsearch.assembler.checks import check_trained
from archsearch.assembler.graph import Dictionary, Graph, Node
from archsearch.assembler.parse import parse
from archsearch.assembler.receipt import Receipt, write_receipt
from archsearch.assembler.sae import SAE
from archsearch.assembler.splices import check_spliced
from archsearch.assembler.wired import wire
from archsearch.blocks._block import Block
from archsearch.blocks.calibrations._base import Calibration
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.blocks.controllers._base import Controller
from archsearch.blocks.inits._base import Init
from archsearch.blocks.optimizers._base import Optimizer
from archsearch.blocks.revivals._base import Revival
from archsearch.blocks.schedules._base import Schedule
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError, DataError, InvalidInput, Problem

T = TypeVar("T", bound=Block)

_ALONE = RLock()
"""Held while an SAE is built: the default dtype is one for all threads."""


@dataclass(frozen=True)
class Assembly:
    """A spec, built: the module, the wired graph, and the receipt of what was built."""

    spec: Any
    graph: Graph
    sae: SAE
    receipt: Receipt
    init: Init
    revival: Revival | None
    calibration: Calibration | None
    optimizer: Optimizer
    schedule: Schedule


def assemble(
    spec: Any, *, model: int, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, blocks: Catalogue | None = None
) -> Assembly:
    """Builds the SAE that `spec` describes, for activations of width `model`; parameters hold their fills until the init event.

    Raises:
        AssemblyError: what does not fit together, with the path of every problem.
    """
    blocks = blocks or catalogue()
    graph = wire(spec, model, blocks)
    with _defaults(dtype, device):
        modules = {label: _make(node) for label, node in graph.nodes.items()}
        scales = {name: blocks[spec.scale.kind](spec.scale, Sizes(model, 0)) for name in spec.inputs}
        controller = _of(Controller, spec.controller, blocks) if spec.controller else None
        run_rows = max(spec.training.tokens // spec.training.batch, 1) * spec.training.batch
        sae = SAE(graph, modules, scales, run_rows, controller, cut=spec.calibration is not None)
        init = _of(Init, spec.init, blocks)
        revival = _of(Revival, spec.revival, blocks) if spec.revival else None
        calibration = _of(Calibration, spec.calibration, blocks) if spec.calibration else None
        optimizer = _of(Optimizer, spec.training.optimizer, blocks)
        schedule = _of(Schedule, spec.training.schedule, blocks)
    try:
        if revival is not None:
            revival.suits({d.name: _signals_around(d, graph) for d in graph.dictionaries})
        if calibration is not None:
            calibration.suits(graph.dense_rank)
    except InvalidInput as error:
        raise AssemblyError(error.problems) from None
    if controller is not None:
        _check_steered(graph)
    check_spliced(graph)
    check_trained(graph, {label for label in graph.nodes if sae.block(label).axes})
    receipt = write_receipt(spec, graph, sae, revival, (optimizer, schedule))
    return Assembly(spec, graph, sae, receipt, init, revival, calibration, optimizer, schedule)


def _check_steered(graph: Graph) -> None:
    """Refuses a controller that nothing answers to.

    Raises:
        AssemblyError: no term of the loss has a setting that moves sparsity.
    """
    if not any(node.slot == "loss" and node.item.block.sparsity for node in graph.nodes.values()):
        raise AssemblyError(
            [Problem("no term of the loss moves sparsity, so there is nothing to steer; leave the controller out", "controller")]
        )


def _signals_around(dictionary: Dictionary, graph: Graph) -> frozenset[str]:
    """Returns the types of parameter signals that the blocks of a dictionary expose."""
    around = (graph.nodes[label] for label in (*dictionary.path, *dictionary.decoders))
    return frozenset(signal.value for node in around for signal in node.item.block.shared(node.spec).values())


def _of(slot: type[T], spec: Any, blocks: Catalogue) -> T:
    block = blocks[spec.kind](spec)
    assert isinstance(block, slot), f"{spec.kind} is no {slot.__name__}"  # the grammar let it in
    return block


def load_sae(
    document: dict[str, Any],
    weights: str | Path,
    model: int | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> SAE:
    """Returns a trained SAE from its spec and its weights (a `.safetensors` file as studies and `archsearch train` write them).

    `model`: width of the activations; read off the weights by default.

    Raises:
        DataError: the weights cannot be read, or belong to another architecture.
    """
    spec = parse(document)
    try:
        tensors = load_file(weights, device=str(device))
        sae = assemble(spec, model=model or _model_of(spec, tensors), device=device, dtype=dtype).sae
        sae.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DataError(f"{weights}: cannot be loaded as this SAE ({error})") from None
    return sae.eval()


def _model_of(spec: Any, tensors: dict[str, torch.Tensor]) -> int:
    """Returns the width of the activations that weights of `spec` were trained on: the length of an axis that has it."""
    sae = assemble(spec, model=1, device="meta").sae
    for label in sae.graph.nodes:
        for name, axes in sae.block(label).axes.items():
            value = tensors.get(f"blocks.{label}.{name}")
            if "model" in axes and value is not None and value.dim() == len(axes):
                return value.shape[axes.index("model")]
    raise RuntimeError("no tensor in it tells the width of the activations")


def _make(node: Node) -> Block:
    try:
        return node.item.block(node.spec, node.sizes)
    except InvalidInput as error:
        raise AssemblyError([Problem(p.what, p.path or node.item.path) for p in error.problems]) from None


@contextmanager
def _defaults(dtype: torch.dtype, device: str | torch.device):
    with _ALONE:
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                yield
        finally:
            torch.set_default_dtype(before)
