"""What an SAE decodes: its outputs as an affine function of its codes, whatever blocks stand between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.assembler.dictionaries import flow_owner
from archsearch.assembler.graph import Graph
from archsearch.assembler.sae import SAE, Signals
from archsearch.blocks.signals import Signal
from archsearch.errors import DataError

_PART_LATENTS = 1024
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_LOOSEST = 3e-2  # of 16-bit numbers


@dataclass(frozen=True)
class Decoded:
    """A batch as an SAE encodes it, and all of what its codes do not decide.

    `target`: what is to be rebuilt, all targets side by side, in the graph's units; `code`: codes of all dictionaries side by side; `base`:
    the outputs if every code were zero (biases, and what flows past the codes). Then the SAE's own output is `base + code @ dictionary`.
    """

    target: Float[Tensor, "batch all"]
    code: Float[Tensor, "batch latent"]
    base: Float[Tensor, "batch all"]


@torch.no_grad()
def dictionary_of(sae: SAE) -> Float[Tensor, "latent all"]:
    """Returns what one unit of each latent adds to the outputs, in the graph's units: a row per latent, all targets side by side.

    It is read off by decoding one latent after another, so that any number of dictionaries, decoders, levels (the last one counts) and
    nested stages is covered.

    Raises:
        DataError: the outputs are no sum of such rows.
    """
    parameter, width = next(sae.parameters()), sae.graph.width

    def outputs(code: Tensor) -> Tensor:
        zeros = parameter.new_zeros(len(code), sae.graph.model)
        return _outputs(sae, sae.signals(dict.fromkeys(inputs_of(sae), zeros)), code)

    base = outputs(parameter.new_zeros(1, width))
    parts = []
    for first in range(0, width, _PART_LATENTS):
        code = parameter.new_zeros(min(_PART_LATENTS, width - first), width)
        code.diagonal(first).fill_(1)
        parts.append(outputs(code) - base)
    found = torch.cat(parts)
    mixed = torch.linspace(0.5, 1.5, width).to(parameter)[None]
    _check(outputs(mixed), base, mixed, found)
    return found


@torch.no_grad()
def decoded(sae: SAE, rows: dict[str, Float[Tensor, "batch model"]], dictionary: Float[Tensor, "latent all"]) -> Decoded:
    """Encodes raw activations at inference and splits the outputs into what codes decide and what they do not.

    Raises:
        DataError: the outputs are no sum of dictionary rows, so that nothing can be said about other codes.
    """
    scaled = sae.scale(rows)
    signals = sae.signals(scaled)
    code = sae.codes(signals)
    base = _outputs(sae, signals, torch.zeros_like(code))
    _check(_side_by_side(sae, sae.outputs(signals)), base, code, dictionary)
    return Decoded(_side_by_side(sae, scaled), code, base)


def _check(outputs: Tensor, base: Tensor, code: Tensor, dictionary: Tensor) -> None:
    size = outputs.norm() + base.norm() + (code.abs() @ dictionary.abs()).norm()
    away = (base + code @ dictionary - outputs).norm()
    if away > _TOLERANCE.get(outputs.dtype, _LOOSEST) * size:  # NaN passes: it is told where it is measured
        raise DataError(
            f"an SAE's outputs must be a sum of dictionary rows, weighted by its code, for its dictionary to be judged by itself; "
            f"here they differ from it by {float(away / size):.2g} of their size: a decoder is not linear, and this cannot be measured"
        )


def inputs_of(sae: SAE) -> list[str]:
    """Returns the names of the activations an SAE is given."""
    return [
        name for name, info in sae.graph.infos.items() if info.type is Signal.ACTIVATION and name.rpartition(".")[0] not in sae.graph.nodes
    ]


def by_target(sae: SAE, values: Float[Tensor, "batch all"]) -> dict[str, Float[Tensor, "batch model"]]:
    """Returns values side by side as one tensor per target, by name."""
    return dict(zip(sae.graph.outputs, values.split(sae.graph.model, -1), strict=True))


def _side_by_side(sae: SAE, values: dict[str, Tensor]) -> Float[Tensor, "batch all"]:
    return torch.cat([values[target] for target in sae.graph.outputs], -1)


def _outputs(sae: SAE, signals: Signals, code: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch all"]:
    """Returns the outputs with other codes in the place of the SAE's own; `signals` are those of the same rows."""
    graph = sae.graph
    found = dict(signals)
    for dictionary, part in zip(graph.dictionaries, code.split([one.width for one in graph.dictionaries], -1), strict=True):
        found[dictionary.code] = part
    for label in _behind(graph):
        node = graph.nodes[label]
        ports = {}
        for port, wires in node.wires.items():
            values = [found[graph.aliases.get(wire.signal, wire.signal)] for wire in wires]
            if values:
                ports[port] = values if node.many[port] else values[0]
        for name, value in sae.block(label).infer(**ports).items():
            found[f"{label}.{name}"] = value
    return _side_by_side(sae, sae.outputs(found))


def _behind(graph: Graph) -> list[str]:
    """Returns the blocks between the codes and the outputs, in the graph's order; what makes the codes is left out."""
    made = {dictionary.name for dictionary in graph.dictionaries}
    found: set[str] = set()
    waiting = list(graph.outputs.values())
    while waiting:
        label = flow_owner(waiting.pop(), graph.nodes)
        if label is not None and label not in found and label not in made:
            found.add(label)
            waiting += [wire.signal for wires in graph.nodes[label].wires.values() for wire in wires]
    return [label for label in graph.nodes if label in found]
