"""Shows a member to an event: its dictionaries and the parameters that belong to each latent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from archsearch.assembler.graph import Dictionary, Graph
from archsearch.assembler.sae import SAE
from archsearch.blocks.decoders._base import Decoder
from archsearch.blocks.signals import PARAMETERS, Signal
from archsearch.blocks.views import DictionaryView, Fitting, LatentParameter, Rows, SAEView

if TYPE_CHECKING:
    from archsearch.training.member import Member


def view(member: Member) -> SAEView:
    """Returns what an event may see and change of `member`; everything in it is the member's own storage."""
    graph, sae = member.sae.graph, member.sae
    dictionaries = [_dictionary(member, dictionary) for dictionary in graph.dictionaries]
    biases = _biases(member)
    taken = _pointers(dictionaries) | {value.data_ptr() for _, value in biases}
    fixed = _undrawn(sae)
    left = {name: value.data for name, value in sae.named_parameters() if value.data_ptr() not in taken}
    free = {name: value for name, value in left.items() if value.dim() > 1 and name not in fixed}

    def sample(count: int, generator: Generator) -> dict[str, Tensor]:
        total = member.batches.count
        index = torch.randperm(total, generator=generator)[:count]
        rows = {name: values[index.to(values.device)].to(member.batches.dtype) for name, values in member.batches.rows.items()}
        with torch.no_grad():
            return sae.scale(rows)

    @torch.no_grad()
    def signals(rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return sae.signals(rows)

    @torch.no_grad()
    def row_loss(rows: dict[str, Tensor]) -> Tensor:
        outputs = sae.outputs(sae.signals(rows))
        return torch.stack([(rows[target] - value).square().sum(-1) for target, value in outputs.items()]).sum(0)

    run_rows = member.total_steps * member.batches.batch
    return SAEView(dictionaries, biases, free, run_rows, sample, signals, row_loss, _fittings(graph, sae))


def _fittings(graph: Graph, sae: SAE) -> list[Fitting]:
    """Returns the decoders that start from data, each with the target it rebuilds."""
    found = []
    for label, node in graph.nodes.items():
        block = sae.block(label)
        if isinstance(block, Decoder) and (rows := block.rows_to_fit(node.spec)):
            found.append(Fitting(next(iter((*graph.targets.get(label, ()), *graph.outputs))), rows, block.fit))
    return found


def _undrawn(sae: SAE) -> set[str]:
    """Names of the parameters that start as their fill."""
    return {f"blocks.{key}.{name}" for key, block in sae.blocks.items() for name in block.undrawn}  # pyright: ignore


def _pointers(dictionaries: list[DictionaryView]) -> set[int]:
    return {parameter.value.data_ptr() for dictionary in dictionaries for parameter in dictionary.own}


def _dictionary(member: Member, dictionary: Dictionary) -> DictionaryView:
    graph, sae = member.sae.graph, member.sae
    own: list[LatentParameter] = []
    made: list[Rows] = []
    unit = False
    sources = _encoder_sources(graph, dictionary)
    for label in (*dictionary.path, *dictionary.decoders):
        block, node = sae.block(label), graph.nodes[label]
        signals = block.shared(node.spec)
        source = node.wires[node.main][0].signal
        for name, type in signals.items():
            if type is Signal.DICTIONARY and name not in block.axes and f"{label}.{name}" not in graph.aliases:
                hooks = frozenset(graph.targets.get(label, ()))
                made.append(Rows(_target_source(graph, label, sources), hooks, partial(getattr, block, name)))
        for name, axes in block.axes.items():
            if axes[0] != "latent":
                continue
            type = signals.get(name)
            role = type.value if type is Signal.DICTIONARY or type is Signal.WEIGHT else ""
            hooks = frozenset(_inputs_behind(graph, source) if role else ())
            if role == Signal.DICTIONARY:
                source, hooks = _target_source(graph, label, sources), frozenset(graph.targets.get(label, ()))
                unit = unit or bool(getattr(block, "unit_norm", False))
            full = f"blocks.{label.replace('.', '_')}.{name}"
            value: Tensor = getattr(block, name).data
            drawn = name not in block.undrawn
            moments = member.moments.get(full, {})
            restart = partial(member.assembly.optimizer.restart, moments)
            own.append(LatentParameter(full, value, moments, restart, role, source, block.fills[name], drawn, hooks))
    reads = frozenset(name for source in sources for name in _inputs_behind(graph, source))
    return DictionaryView(dictionary.name, own, sae.idle_of(dictionary.name), unit, reads, made)


def _encoder_sources(graph: Graph, dictionary: Dictionary) -> list[str]:
    """Returns the signals that the dictionary's encoders read, those first whose rows are directions in them."""
    encoders = [graph.nodes[label] for label in dictionary.path if graph.nodes[label].slot == "encoder"]
    encoders.sort(key=lambda node: Signal.WEIGHT not in node.item.block.shared(node.spec).values())
    return [node.wires[node.main][0].signal for node in encoders]


def _target_source(graph: Graph, decoder: str, sources: list[str]) -> str:
    """A decoder takes its directions from what an encoder of the hook point it rebuilds reads, else from that hook point itself."""
    targets = graph.targets.get(decoder, ())
    same = (source for target in targets for source in sources if target in _inputs_behind(graph, source))
    return next(same, next(iter((*targets, *sources, *graph.outputs))))


def _inputs_behind(graph: Graph, signal: str) -> set[str]:
    """Returns the inputs of the SAE that a signal depends on."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [signal]
    while waiting:
        signal = waiting.pop()
        node = graph.nodes.get(signal.rpartition(".")[0])
        if node is None:
            found.add(signal)
        elif node.label not in seen:
            seen.add(node.label)
            waiting += [wire.signal for wires in node.wires.values() for wire in wires if graph.infos[wire.signal].type not in PARAMETERS]
    return found


def _biases(member: Member) -> list[tuple[str, Tensor]]:
    """Biases a centre of the data belongs in: those of the first dictionary's decoders (later stages see what is left over)."""
    graph, sae = member.sae.graph, member.sae
    found = []
    for label in graph.dictionaries[0].decoders:
        block = sae.block(label)
        for name, type in block.shared(graph.nodes[label].spec).items():
            if type is Signal.BIAS and name in block.axes:
                target = next(iter((*graph.targets.get(label, ()), *graph.outputs)))
                found.append((target, getattr(block, name).data))
    return found
