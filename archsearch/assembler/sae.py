"""The module an SAE spec becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from archsearch.assembler.graph import Graph
from archsearch.assembler.splices import in_units_of
from archsearch.assembler.wiring import IDLE
from archsearch.blocks._block import Block, StepBlock
from archsearch.blocks._splice import Splice
from archsearch.blocks.controllers._base import Controller
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.inputs._base import Input
from archsearch.blocks.signals import Given, Signal

Signals = dict[str, Tensor]
State = dict[str, Tensor]


class Idle(nn.Module):
    """Counts, for each latent of a dictionary, the rows seen since it last fired."""

    rows: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("rows", torch.zeros(width))

    def after(self, code: Float[Tensor, "batch latent"]) -> Float[Tensor, " latent"]:
        """Returns the counts after a batch of codes."""
        fired = code.abs().amax(0) != 0  # `(code != 0).any(0)`, which is slow
        return torch.where(fired, 0.0, self.rows + code.shape[0])


class Cutoff(nn.Module):
    """Zeroes the entries of a dictionary's code that are smaller in size than their latent's cut-off."""

    least: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("least", torch.zeros(width))

    def forward(self, code: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """Returns the code with what is left of it."""
        return torch.where(code.abs() < self.least, 0.0, code)  # not `>=`: NaN must stay


@dataclass(frozen=True)
class _Call:
    label: str
    key: str
    ports: tuple[tuple[str, bool, tuple[tuple[str, bool], ...]], ...]
    states: tuple[str, ...]
    is_loss: bool
    steered: bool
    losses: tuple[str, ...]
    given: tuple[tuple[str, Given], ...]


class SAE(nn.Module):
    """An assembled SAE.

    `forward` is the training step's pure function; `encode`, `decode` and `reconstruct` work in the units of the activations, at inference.
    Buffers hold settings and state; a step returns new state instead of writing it.
    """

    def __init__(
        self,
        graph: Graph,
        modules: dict[str, Block],
        scales: dict[str, Block],
        run_rows: int,
        controller: Controller | None = None,
        cut: bool = False,
    ):
        super().__init__()
        self.graph, self.run_rows, self.controller = graph, run_rows, controller
        self.blocks = nn.ModuleDict({_key(label): module for label, module in modules.items()})
        self.scales = nn.ModuleDict({_key(name): module for name, module in scales.items()})
        self.idle = nn.ModuleDict({_key(d.name): Idle(d.width) for d in graph.dictionaries})
        self.cutoffs = nn.ModuleDict({_key(d.name): Cutoff(d.width) for d in graph.dictionaries if cut})
        self._codes = {d.name: d.code for d in graph.dictionaries if cut}
        self._calls = [self._call(label) for label in graph.nodes]
        self._graph_calls = [call for call in self._calls if not call.is_loss]
        self._before_cuts, self._behind_cuts = self._part()
        self._sources = self._find_sources()

    def _call(self, label: str) -> _Call:
        node = self.graph.nodes[label]
        ports = tuple(
            (port, node.many[port], tuple((self.graph.aliases.get(w.signal, w.signal), w.detach) for w in wires))
            for port, wires in node.wires.items()
            if wires
        )
        losses = tuple(name for name, info in node.outputs.items() if info.type is Signal.LOSS)
        block = self.block(label)
        is_loss = node.slot == "loss"
        given = tuple(node.item.block.given(node.spec).items())
        return _Call(label, _key(label), ports, tuple(block.states), is_loss, is_loss and bool(block.sparsity), losses, given)

    def noise(self, rows: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the uniform numbers a step of `rows` rows takes, by name; blocks in the graph's order."""
        before = {Given.UNIFORM: (rows,), Given.LATENT_UNIFORM: ()}
        return {
            f"{call.key}.{name}": (*before[given], self._latents(call.label))
            for call in self._calls
            for name, given in call.given
            if given in before
        }

    def _latents(self, label: str) -> int:
        """Returns the latents a block works on; one that reads a dictionary and no code has no other size of its own to tell them."""
        node = self.graph.nodes[label]
        for signal in (wire.signal for wires in node.wires.values() for wire in wires):
            if self.graph.infos[signal].type in (Signal.DICTIONARY, Signal.WEIGHT, Signal.THRESHOLD):
                owner = self.graph.aliases.get(signal, signal).rpartition(".")[0]
                return self.graph.nodes[owner].sizes.latent
        return node.sizes.latent

    def _find_sources(self) -> list[tuple[str, str, str]]:
        """Lists the parameter signals and idle counts some port reads, as (signal, module key, attribute)."""
        read = {signal for call in self._calls for _, _, wires in call.ports for signal, _ in wires}
        found = []
        for signal in sorted(read):
            label, _, output = signal.rpartition(".")
            node = self.graph.nodes.get(label)
            if node is not None and (output == IDLE or output in node.item.block.shared(node.spec)):
                found.append((signal, _key(label), output))
        return found

    def _part(self) -> tuple[list[_Call], list[_Call]]:
        """Lists the blocks that no cut-off of a code can change, and those that read a code, directly or through others."""
        reached = {dictionary.code for dictionary in self.graph.dictionaries}
        before, behind = list[_Call](), list[_Call]()
        for call in self._graph_calls:
            if any(signal in reached for _, _, wires in call.ports for signal, _ in wires):
                reached |= {f"{call.label}.{name}" for name in self.graph.nodes[call.label].outputs}
                behind.append(call)
            else:
                before.append(call)
        return before, behind

    def signals(self, inputs: dict[str, Tensor], infer: bool = True) -> Signals:
        """Returns every signal of the graph, losses left out, for inputs already scaled.

        Shapes: each input [batch, model].
        """
        signals, _ = self._run(dict(inputs), self._graph_calls, infer)
        return signals

    def before_cuts(self, inputs: dict[str, Tensor]) -> Signals:
        """Returns the signals at inference that no cut-off changes, and the codes they lead to as they are before theirs.

        Shapes: each input [batch, model], already scaled.
        """
        return self._run(dict(inputs), self._before_cuts, infer=True, cut=False)[0]

    def after_cuts(self, before: Signals) -> Signals:
        """Returns every signal at inference, given what `before_cuts` returned for these inputs, of this SAE or of one cut otherwise."""
        signals = dict(before)
        for label, code in self._codes.items():
            if code in before:
                signals[code] = self.cutoffs[_key(label)](before[code])
        return self._run(signals, self._behind_cuts, infer=True)[0]

    def _run(
        self, signals: Signals, calls: list[_Call], infer: bool, given: dict[str, Any] | None = None, cut: bool = True
    ) -> tuple[Signals, State]:
        state: State = {}
        for signal, key, output in self._sources:
            signals[signal] = self._idle(key).rows / self.run_rows if output == IDLE else getattr(self.blocks[key], output)
        for call in calls:
            block = self.block(call.label)
            ports = {port: _read(signals, many, wires) for port, many, wires in call.ports}
            out = block.infer(**ports) if infer else block(**ports, **_given(call, given or {}))
            for name, value in out.items():
                if name in call.states:
                    state[f"blocks.{call.key}.{name}"] = value
                else:
                    signals[f"{call.label}.{name}"] = value
            if infer and cut and call.label in self._codes:
                code = self._codes[call.label]
                signals[code] = self.cutoffs[call.key](signals[code])
        return signals, state

    def forward(
        self,
        inputs: dict[str, Tensor],
        progress: Tensor,
        noise: Signals | None = None,
        rate: Tensor | None = None,
        splice: Splice | None = None,
    ) -> tuple[Tensor, Signals, State]:
        """Computes the loss of one batch of raw activations.

        Shapes: each input [batch, model]; `progress` zero-dimensional, share of the run done; `noise` as `noise()` says; `rate`
        zero-dimensional, multiplier of the learning rate at this step (one if it is left out); `splice` takes targets in the units of the
        activations, and is needed where a block asks for one.

        Returns:
            The loss, its terms by label (weighted), and new state by buffer name.
        """
        given: dict[str, Any] = {Given.PROGRESS: progress, **(noise or {})}
        if splice is not None:
            given[Given.SPLICE] = in_units_of([self.scaling(target).inverse for target in self.graph.outputs], splice)
        signals, state = self._run(self.scale(inputs), self._calls, infer=False, given=given)
        terms: dict[str, Tensor] = {}
        for call in self._calls:
            for name in call.losses:
                value = signals[f"{call.label}.{name}"]
                terms[_term(call, name)] = self._weigh(call, value, progress)
        counted = self._counted(signals)
        for dictionary in self.graph.dictionaries:
            key = _key(dictionary.name)
            state[f"idle.{key}.rows"] = self._idle(key).after(counted[dictionary.name])
        if self.controller is not None:
            rate = progress.new_ones(()) if rate is None else rate
            l0 = torch.stack([(code != 0).sum(-1).to(progress.dtype).mean() for code in counted.values()]).sum() + self.graph.dense_rank
            state |= {f"controller.{name}": value for name, value in self.controller(l0, progress, rate).items()}
        total = torch.stack(list(terms.values())).sum()
        return total, terms, state

    def _counted(self, signals: Signals) -> dict[str, Tensor]:
        """Returns the codes on which firing is counted, by dictionary: those of the step, or a soft gate's as at inference."""
        found = {}
        for dictionary in self.graph.dictionaries:
            code = signals[dictionary.code].detach()
            if cast(Gate, self.block(dictionary.name)).soft:
                with torch.no_grad():
                    code = self.block(dictionary.name).infer(**self._ports(dictionary.name, signals))["code"]
            found[dictionary.name] = code
        return found

    def _ports(self, label: str, signals: Signals) -> dict[str, Any]:
        call = next(call for call in self._calls if call.label == label)
        return {port: _read(signals, many, wires) for port, many, wires in call.ports}

    @torch.no_grad()
    def calibrate(self, rows: dict[str, Tensor]) -> None:
        """Lets every gate set its state from rows of the calibrate split (in place), one after another as signals flow."""
        inputs = self.scale(rows)
        for call in self._graph_calls:
            block = self.block(call.label)
            if isinstance(block, Gate) and type(block).calibrate is not Gate.calibrate:
                for name, value in block.calibrate(**self._ports(call.label, self.signals(inputs))).items():
                    getattr(block, name).copy_(value)

    def _weigh(self, call: _Call, value: Tensor, progress: Tensor) -> Tensor:
        if not call.is_loss:
            return value
        block = self.block(call.label)
        warmup = block.warmup_frac
        ramp = (progress / warmup.clamp(min=1e-12)).clamp(max=1).where(warmup > 0, 1.0)
        value = value * (block.weight * ramp)
        return value if self.controller is None or not call.steered else value * self.controller.strength

    def block(self, label: str) -> StepBlock:
        """Returns the module of the block with a flat label."""
        return cast(StepBlock, self.blocks[_key(label)])

    def scaling(self, name: str) -> Input:
        """Returns the scaling of an input."""
        return cast(Input, self.scales[_key(name)])

    def idle_of(self, name: str) -> Tensor:
        """Returns the idle counts of the dictionary of a name, [latent]."""
        return self._idle(_key(name)).rows

    @property
    def cut_codes(self) -> dict[str, str]:
        """The code of each dictionary that cut-offs act on, by the dictionary's name, as signals flow."""
        return {call.label: self._codes[call.label] for call in self._graph_calls if call.label in self._codes}

    def cutoff_of(self, name: str) -> Tensor:
        """Returns what the entries of a gate's code must reach in size at inference, [latent]: zeros where nothing is cut."""
        if name in self._codes:
            return cast(Cutoff, self.cutoffs[_key(name)]).least
        return next(self.parameters()).new_zeros(self.graph.nodes[name].sizes.latent)

    def _idle(self, key: str) -> Idle:
        return cast(Idle, self.idle[key])

    def scale(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns activations as the graph sees them."""
        return {name: self.scaling(name)(x) for name, x in inputs.items()}

    def encode(self, inputs: dict[str, Tensor]) -> Float[Tensor, "batch latent"]:
        """Returns the codes of all dictionaries side by side, at inference."""
        return self.codes(self.signals(self.scale(inputs)))

    def codes(self, signals: Signals) -> Float[Tensor, "batch latent"]:
        """Returns the codes of all dictionaries side by side; of a single one the code itself, not a copy."""
        found = [signals[dictionary.code] for dictionary in self.graph.dictionaries]
        return found[0] if len(found) == 1 else torch.cat(found, -1)

    def outputs(self, signals: Signals) -> dict[str, Tensor]:
        """Returns the reconstruction of each target in the graph's units: of the last level where there are several."""
        found = {}
        for target, signal in self.graph.outputs.items():
            value = signals[signal]
            found[target] = value[-1] if self.graph.infos[signal].levels else value
        return found

    def reconstruct(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the reconstruction of each target in the units of the activations, at inference."""
        return self.unscale(self.outputs(self.signals(self.scale(inputs))))

    def unscale(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the graph's outputs in the units of the activations."""
        return {target: self.scaling(target).inverse(value) for target, value in outputs.items()}

    def fit_scales(self, rows: dict[str, Tensor]) -> None:
        """Fits the scaling of every input on rows of the calibrate split (in place)."""
        for name, values in rows.items():
            self.scaling(name).fit(values)


def _key(label: str) -> str:
    # A module's name may not hold dots; hook points' names do.
    return label.replace(".", "_")


def _term(call: _Call, name: str) -> str:
    return call.label.removeprefix("losses/") if call.is_loss else f"{call.label}.{name}"


def _given(call: _Call, given: dict[str, Any]) -> dict[str, Any]:
    """Returns what a block is handed besides its ports, by argument name."""
    return {name: given[what if what in given else f"{call.key}.{name}"] for name, what in call.given}


def _read(signals: Signals, many: bool, wires: tuple[tuple[str, bool], ...]) -> Tensor | list[Tensor]:
    values = [signals[signal].detach() if detach else signals[signal] for signal, detach in wires]
    return values if many else values[0]
