"""One SAE of ours beside one of a peer's: the same numbers, the same batches, in float64.

A test builds a `Pair` from a spec of ours, a module of the peer's and the names of their parameters, and then asks for one step
(`same_step`: loss, each term, every gradient) and for a run (`same_run`: every parameter after ten steps, each side with its own loop).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archsearch.assembler.parse import parse
from archsearch.training.loop import Executor, train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start

MODEL, WIDTH, BATCH, STEPS = 8, 24, 16, 10
LR = 0.01
RTOL, ATOL = 1e-9, 1e-12

Names = Mapping[str, tuple[str, bool]]
"""Our parameter -> (the peer's, whether it is stored transposed)."""


def linear(encoder: str, bias: str, decoder: str, center: str, *, nn_linear: bool) -> dict[str, tuple[str, bool]]:
    """Returns the names of a linear encoder and decoder; `nn_linear`: the decoder is the transposed one (else the encoder is)."""
    names = {"encoder.weight": (encoder, not nn_linear), "decoder.dictionary": (decoder, nn_linear), "decoder.bias": (center, False)}
    return names | ({"encoder.bias": (bias, False)} if bias else {})


def document(
    gate: Any, losses: dict[str, Any], *, norm: str = "unit", center: bool = True, level: Any = None, bias: bool = True, **training: Any
) -> dict[str, Any]:
    """Returns a spec whose scaling leaves activations as they are, with a constant learning rate unless told otherwise."""
    graph: dict[str, Any] = {"center": "pre_bias"} if center else {}
    graph |= {"encoder": {"kind": "linear_encoder", "bias": bias}, "gate": gate} | ({"level": level} if level else {})
    return {
        "width": WIDTH,
        "scale": {"kind": "scaling", "power": 0},
        "graph": {**graph, "decoder": {"kind": "linear_decoder", "norm": norm}},
        "losses": losses,
        "training": {
            "tokens": BATCH * STEPS,
            "batch": BATCH,
            "clip_norm": None,
            "optimizer": {"kind": "adam", "lr": LR},
            "schedule": {"kind": "warmup_decay", "decay_frac": 0},
            **training,
        },
    }


def rows(seed: int = 3) -> Tensor:
    """Returns rows made of a few shared directions, off centre."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(30, MODEL, generator=generator, dtype=torch.float64)
    code = torch.rand(BATCH * STEPS, 30, generator=generator, dtype=torch.float64)
    return torch.where(code > 0.85, code, 0.0) @ features + 0.1 * torch.randn(len(code), MODEL, generator=generator, dtype=torch.float64)


@dataclass
class Pair:
    """Our SAE in training and the peer's module, with the same numbers in both."""

    member: Member
    module: nn.Module
    names: Names

    def batch(self, step: int) -> Tensor:
        return self.member.batches.at(step)["x"]

    def ours(self) -> dict[str, Tensor]:
        return {name.removeprefix("blocks."): value for name, value in self.member.parameters().items()}

    def theirs(self) -> dict[str, nn.Parameter]:
        return dict(self.module.named_parameters())

    def read(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        """Returns the peer's tensor that stands for ours of this name, laid out like ours."""
        theirs, transposed = self.names[name]
        return tensors[theirs].T if transposed else tensors[theirs]


@torch.no_grad()
def pair(spec: dict[str, Any], module: nn.Module, names: Names, **values: Tensor) -> Pair:
    """Starts our SAE, moves every parameter to a number of its own (`values`: by name with `__` for dots) and copies all to the peer."""
    data = {"x": rows()}
    made = Pair(start(parse(spec), data, data, precision="float64"), module, names)
    assert set(made.ours()) == set(names), "every parameter of ours must have a name at the peer"
    assert set(made.theirs()) == {theirs for theirs, _ in names.values()}, "every parameter of the peer's must have a name here"
    generator = torch.Generator().manual_seed(11)
    unit = spec["graph"]["decoder"].get("norm", "unit") == "unit"
    for name, value in made.ours().items():
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        chosen = values.get(name.replace(".", "__"))
        if chosen is not None:
            value.copy_(chosen)
        elif value.dim() == 1:
            value.copy_(0.1 * drawn)
        else:
            value.copy_(drawn / drawn.norm(dim=-1, keepdim=True))
            if name == "decoder.dictionary" and not unit:
                value.mul_(torch.linspace(0.5, 1.5, len(value), dtype=torch.float64)[:, None])
        theirs, transposed = names[name]
        made.theirs()[theirs].data = (value.T if transposed else value).clone().contiguous()
    return made


def same(ours: Any, theirs: Any, what: str, rtol: float = RTOL, atol: float = ATOL) -> None:
    """Checks that two numbers or tensors agree, at double precision unless told otherwise."""
    first, second = (torch.as_tensor(value, dtype=torch.float64).detach() for value in (ours, theirs))
    torch.testing.assert_close(first, second, rtol=rtol, atol=atol, msg=lambda told: f"{what}: {told}")


def same_step(made: Pair, loss: Tensor, terms: Mapping[str, Any]) -> None:
    """Checks the first step: the loss, each term (`terms`: the peer's, by our names), and the gradient of every parameter."""
    total, told, _ = made.member.sae({"x": made.batch(0)}, torch.zeros((), dtype=torch.float64))
    same(total, loss, "loss")
    assert set(told) == set(terms), f"our terms {sorted(told)}; the peer's {sorted(terms)}"
    for name, value in terms.items():
        same(told[name], value, f"term {name}")
    mine, others = made.ours(), made.theirs()
    ours = dict(zip(mine, torch.autograd.grad(total, list(mine.values()), materialize_grads=True)))
    theirs = dict(zip(others, torch.autograd.grad(loss, list(others.values()), materialize_grads=True)))
    for name, value in ours.items():
        same(value, made.read(theirs, name), f"gradient of {name}")
        assert value.any(), f"the gradient of {name} says nothing"


def same_run(
    made: Pair,
    update: Callable[[int, Tensor], Any],
    *,
    rtol: float = RTOL,
    atol: float = ATOL,
    infer: bool = True,
    executor: type[Executor] = Looped,
) -> None:
    """Trains both for ten steps on the same batches, each by its own loop, and checks every parameter at the end.

    `update(step, batch)` is one step of the peer's trainer; `infer`: check reconstructions of other rows at inference too.
    """
    before = {name: value.detach().clone() for name, value in made.ours().items()}
    for step in range(STEPS):
        update(step, made.batch(step))
    train([made.member], executor())
    assert made.member.step == STEPS and made.member.failure is None
    after = {name: value.detach() for name, value in made.theirs().items()}
    for name, value in made.ours().items():
        same(value, made.read(after, name), f"{name} after {STEPS} steps", rtol, atol)
        moved = (value - before[name]).abs().max()
        assert moved > LR / 100, f"{name} moved by {moved:.2g} over the run"
    if infer:
        others = rows(seed=9)
        ours = made.member.sae.reconstruct({"x": others})["x"]
        same(ours, made.module(others), "reconstruction at inference", 10 * rtol, 10 * atol)
