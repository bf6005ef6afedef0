"""What a block's test file says (`Example`), and the machinery of the contract tests, which know no block by name.

Every block of the catalogue has a file `tests/blocks/<slot>/test_<module>.py` with an `EXAMPLE` and at least one example a reader can check
by eye. `reference` is slow plain Python written from the paper; it takes and returns numpy arrays by name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archsearch.assembler.parse import parse
from archsearch.blocks._block import Block, StepBlock
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.signals import Given, Info, Port, Signal, Sizes
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.blocks.toy_model import toy_splice, toy_windows

ROWS, MODEL, LATENT, LEVELS = 6, 5, 8, 3

Arrays = dict[str, Any]
Reference = Callable[[dict[str, Any], Arrays, Arrays], Mapping[str, Any]]


@dataclass(frozen=True)
class Case:
    """One way to set a block up: settings over the example's, optional ports wired, levels on the ports that take them, port types."""

    settings: dict[str, Any] = field(default_factory=dict)
    wired: tuple[str, ...] = ()
    levels: int = 0
    types: dict[str, Signal] = field(default_factory=dict)


@dataclass(frozen=True)
class Two:
    """Two legal values of a field, the settings it needs to act, and the SAE it acts in where that is not the example's."""

    first: Any
    second: Any
    given: dict[str, Any] = field(default_factory=dict)
    sae: Callable[[dict[str, Any]], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Example:
    """What the contract tests need to know of one block.

    `reference(settings, ports, tensors)` returns outputs (and new state) by name; `tensors` are parameters and state. `reference_grad`
    takes the upstream gradients too and returns gradients by name: given for blocks that write their own; the others' are checked against
    finite differences of `reference`. `constants`: ports that get no gradient. `fields`: two values of each of the block's own fields.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Two] = field(default_factory=dict)
    cases: tuple[Case, ...] = (Case(),)
    reference: Reference | None = None
    reference_grad: Callable[[dict[str, Any], Arrays, Arrays, Arrays], Mapping[str, Any]] | None = None
    constants: tuple[str, ...] = ()
    no_reference: str = ""
    sae: Callable[[dict[str, Any]], dict[str, Any]] | None = None


def kinds(*slots: str) -> list[str]:
    """Returns the kinds of the catalogue, of these slots only if any are named."""
    return sorted(kind for kind, block in catalogue().blocks.items() if not slots or block.slot in slots)


STEP_SLOTS = ("encoder", "gate", "level", "decoder", "op", "loss")


@cache
def module_of(kind: str) -> Any:
    """Returns the test file of a block."""
    name = catalogue()[kind].__module__.removeprefix("archsearch.blocks.")
    folder, _, file = name.rpartition(".")
    return importlib.import_module(f"tests.blocks.{folder}.test_{file}")


def example(kind: str) -> Example:
    """Returns what a block's test file says of it."""
    return module_of(kind).EXAMPLE


@dataclass
class Set:
    """A block with tensors for every port, and with what the executor hands it in training (among `ports`, named in `given`)."""

    block: StepBlock
    settings: dict[str, Any]
    ports: dict[str, Any]
    produced: dict[str, Info]
    given: tuple[str, ...] = ()

    def infer_ports(self) -> dict[str, Any]:
        return {name: value for name, value in self.ports.items() if name not in self.given}

    def tensors(self) -> dict[str, Tensor]:
        return {**dict(self.block.named_parameters()), **{name: getattr(self.block, name) for name in self.block.states}}

    def differentiable(self) -> dict[str, Tensor]:
        found = {name: value for name, value in tensors(self.ports).items() if value.is_floating_point()}
        return {**{name: value for name, value in found.items() if value.requires_grad}, **dict(self.block.named_parameters())}


def flat(ports: dict[str, Any]) -> dict[str, Any]:
    """Returns ports by name, those that take several as `name.0`, `name.1`."""
    found = {}
    for name, value in ports.items():
        found |= {f"{name}.{i}": one for i, one in enumerate(value)} if isinstance(value, list) else {name: value}
    return found


def tensors(ports: dict[str, Any]) -> dict[str, Tensor]:
    """Returns flat ports that are tensors; what a block may be handed besides is the same for everybody."""
    return {name: value for name, value in flat(ports).items() if isinstance(value, Tensor)}


def converted(value: Any, dtype: torch.dtype) -> Any:
    """Returns a port's tensor, or each of its list, in another number format; what is no tensor as it is."""
    if isinstance(value, list):
        return [converted(one, dtype) for one in value]
    return value.to(dtype) if isinstance(value, Tensor) else value


def make(kind: str, case: Case, *, seed: int = 0, nasty: bool = False, device: str = "cpu", **more: Any) -> Set:
    """Builds a block of one case with random parameters and port tensors of the default dtype."""
    cls = catalogue()[kind]
    settings = {**example(kind).settings, **case.settings, **more}
    spec = cls.Spec.model_validate({"kind": kind, **settings})
    generator = torch.Generator().manual_seed(seed)
    ports: dict[str, Any] = {}
    infos: dict[str, tuple[Info, ...]] = {}
    for name, port in cls.ports(spec).items():
        if port.optional and name not in case.wired:
            continue
        type = case.types.get(name, port.types[0])
        levels = case.levels if port.levels else 0
        values = [_draw(type, levels, generator, nasty).to(device) for _ in range(2 if port.many else 1)]
        infos[name] = tuple(Info(type, value.shape[-1], levels) for value in values)
        wanted = type is not Signal.IDLE and name not in example(kind).constants and device != "meta"
        values = [value.requires_grad_(wanted) for value in values]
        ports[name] = values if port.many else values[0]
    sizes = Sizes(MODEL, LATENT, infos)
    produced = cls.produces(spec, sizes)
    with torch.device(device):
        block = cls(spec, sizes)
    if device != "meta":
        randomise(block, generator)
    given = cls.given(spec)
    ports |= {name: _hand(what, generator, ports, device) for name, what in given.items()}
    return Set(block, {**spec.model_dump()}, ports, produced, tuple(given))


def _hand(what: Given, generator: torch.Generator, ports: dict[str, Any], device: str) -> Any:
    dtype = torch.get_default_dtype()
    if what is Given.PROGRESS:
        return torch.tensor(0.3, dtype=dtype, device=device)
    if what is Given.SPLICE:
        return toy_splice(len(next(iter(ports.values()))), ROWS, MODEL, device)
    shape = (LATENT,) if what is Given.LATENT_UNIFORM else (ROWS, LATENT)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(device, dtype)


@torch.no_grad()
def randomise(block: Block, generator: torch.Generator) -> None:
    """Moves every parameter off its fill, then lets the block put it where it keeps it; moves state off its start."""
    for name in block.states:
        state = getattr(block, name)
        state.copy_(torch.rand(state.shape, generator=generator, dtype=torch.float64) + 0.1)
    parameters = dict(block.named_parameters())
    for name, value in parameters.items():
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        value.copy_(block.fills[name] + (drawn.abs() * 0.3 if value.dim() == 1 else drawn / value.shape[-1] ** 0.5))
        if value.dim() == 1:
            value[0] = block.fills[name] - 0.2
    if isinstance(block, StepBlock) and parameters:
        block.renormalise({name: value.data for name, value in parameters.items()})


def _draw(type: Signal, levels: int, generator: torch.Generator, nasty: bool) -> Tensor:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(torch.get_default_dtype())

    shapes = {Signal.DICTIONARY: (LATENT, MODEL), Signal.WEIGHT: (LATENT, MODEL), Signal.BIAS: (MODEL,)}
    if type in shapes:
        return normal(*shapes[type])
    if type is Signal.THRESHOLD:
        return normal(LATENT).abs() * 0.3
    if type is Signal.IDLE:
        return torch.tensor([0, 0.5, 0.0625, 0.5, 0.5, 0, 0.25, 0.03125][:LATENT], dtype=torch.get_default_dtype())
    wide = type in (Signal.PRE, Signal.CODE, Signal.ACTIVE)
    value = normal(ROWS, LATENT if wide else MODEL)
    if nasty:
        value[0], value[1] = -value[0].abs() - 0.1, 0.0
        value[2], value[3, :2] = 1.0, value[3, 2]
    if type is Signal.CODE:
        value = torch.where(value > 0, value, 0.0)
        value[4, 1] = -0.5  # a code may be signed
    if type is Signal.ACTIVE:
        value = (value > 0).to(value.dtype)
    if levels:
        share = torch.arange(1, levels + 1, dtype=value.dtype) / levels
        value = value * (torch.arange(value.shape[-1]) < share[:, None] * value.shape[-1])[:, None, :]
    return value


def arrays(values: Mapping[str, Any]) -> Arrays:
    """Returns tensors as numpy arrays, lists of them as lists, and what is no tensor as it is."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return value.detach().double().numpy().copy() if isinstance(value, Tensor) else value

    return {name: plain(value) for name, value in values.items()}


def upstream(out: dict[str, Tensor], names: list[str], seed: int = 1) -> dict[str, Tensor]:
    """Returns a random gradient for each differentiable output."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(out[name].shape, generator=generator, dtype=torch.float64).to(out[name].dtype)
        for name in names
        if out[name].requires_grad
    }


def differentiate(made: Set) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Returns outputs, the upstream gradients used, and the gradients of ports and parameters."""
    out = made.block(**made.ports)
    names = [name for name in out if name not in made.block.states]
    above = upstream(out, names)
    below = made.differentiable()
    if not above or not below:
        return out, above, {}
    total = torch.stack([(out[name] * value).sum() for name, value in above.items()]).sum()
    found = torch.autograd.grad(total, list(below.values()), allow_unused=True, materialize_grads=True)
    return out, above, dict(zip(below, found))


# Whole SAEs around one block, for effects of fields and for the executors.

ROWS_OF_DATA = 256


@cache
def data(names: tuple[str, ...] = ("x",), model: int = 6) -> dict[str, Tensor]:
    """Returns rows with a few shared directions, by input name."""
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(20, model, generator=generator, dtype=torch.float64)
    code = torch.rand(ROWS_OF_DATA, 20, generator=generator, dtype=torch.float64)
    code = torch.where(code > 0.85, code, 0.0)
    noise = torch.randn(len(names), ROWS_OF_DATA, model, generator=generator, dtype=torch.float64)
    return {name: code @ features.roll(i, -1) + 0.1 * noise[i] + 0.2 for i, name in enumerate(names)}


def base(**training: Any) -> dict[str, Any]:
    """Returns the SAE most blocks are tried in."""
    return {
        "width": 12,
        "graph": {"center": "pre_bias", "encoder": "linear_encoder", "gate": "relu", "decoder": "linear_decoder"},
        "losses": {"sparsity": {"kind": "l1", "weight": 0.1}},
        "training": {"tokens": 128, "batch": 16, "optimizer": {"kind": "adam", "lr": 0.02}, **training},
    }


def place(kind: str, settings: dict[str, Any], sae: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> dict[str, Any]:
    """Returns an SAE with the block in it."""
    spec = {"kind": kind, **example(kind).settings, **settings}
    chosen = sae or example(kind).sae
    if chosen:
        return chosen(spec)
    slot, document = catalogue()[kind].slot, base()
    graph = document["graph"]
    if slot in ("encoder", "gate", "decoder"):
        graph[slot] = spec
    elif slot == "level":
        decoder = graph.pop("decoder")
        graph |= {"level": spec, "decoder": decoder}
    elif slot == "loss":
        document["losses"]["term"] = spec
    elif slot in ("optimizer", "schedule"):
        document["training"][slot] = spec
    else:
        document[{"input": "scale"}.get(slot, slot)] = spec
    return document


def grown(document: dict[str, Any], precision: str = "float64", executor: Any = None) -> Member:
    """Trains an SAE for its whole run."""
    spec = parse(document)
    rows = data(tuple(spec.inputs))
    member = start(spec, rows, rows, precision=precision, windows=toy_windows(rows))
    train([member], executor or Looped())
    return member


def trace(document: dict[str, Any]) -> Tensor:
    """Returns everything a run tells: every loss, everything that moved, and codes and reconstructions at inference."""
    member = grown(document)
    rows = data(tuple(member.assembly.spec.inputs))
    told = [torch.tensor([*terms.values()], dtype=torch.float64) for _, terms in member.history]
    moved = [value.double().flatten() for value in member.sae.state_dict().values()]
    export = [member.sae.encode(rows).flatten(), *(value.flatten() for value in member.sae.reconstruct(rows).values())]
    return torch.cat([*told, *moved, *export]).detach()


def same(first: Any, second: Any, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64), rtol=rtol, atol=atol)


def port_of(kind: str, settings: dict[str, Any]) -> dict[str, Port]:
    """Returns the ports a block has with these settings."""
    cls = catalogue()[kind]
    return cls.ports(cls.Spec.model_validate({"kind": kind, **settings}))
