"""Hierarchies over one dictionary, written as YAML: what is published of them, step by step against plain slices and sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor

from archsearch.assembler.build import assemble
from archsearch.assembler.fold import fold
from archsearch.assembler.parse import parse
from archsearch.errors import AssemblyError
from archsearch.recipes import recipe
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.noise import noise_of
from archsearch.training.stacked import Stacked
from tests.assembler.agreement import assert_same, trained_in_both
from tests.blocks.harness import data

MODEL, WIDTH = 6, 24

CHAIN = """
width: 24
graph:
  center: pre_bias
  encoder: linear_encoder
  gate: {kind: batch_topk, k: 4}
  level: LEVEL
  decoder: linear_decoder
losses:
  reconstruction: {kind: squared_error, ERROR}
"""


def _chain(level: str, error: str) -> str:
    return CHAIN.replace("LEVEL", level).replace("ERROR", error)


PREFIXES = "{kind: matryoshka, prefixes: [0.125, 0.5]"
TOPOLOGIES = {
    "weights": _chain(f"{PREFIXES}}}", "level_weights: [0.2, 0.3, 1.0]"),
    "bias level": _chain(f"{PREFIXES}, bias_level: true}}", "levels: mean"),
    "added, by frequency": _chain(f"{PREFIXES}, order: frequency, decay: 0.5}}", "inner: added"),
    "random": _chain("{kind: random_matryoshka, prefixes: 4}", "levels: mean"),
    "random, by energy": """
width: 24
graph:
  encoder: linear_encoder
  gate: relu
  level: {kind: random_matryoshka, prefixes: 3, order: energy, decay: 0.95}
  decoder: {kind: linear_decoder, norm: free}
losses:
  reconstruction: {kind: squared_error, levels: mean}
  sparsity: {kind: l1, of: level, norm: dictionary, weight: 0.1}
""",
    "budgets": _chain("{kind: hierarchical_topk, budgets: [1, 2]}", "levels: mean"),
    "levels in a nested graph": """
width: 24
graph:
  inner:
    kind: sae
    width: 12
    graph:
      encoder: linear_encoder
      gate: {kind: topk, k: 3}
      level: {kind: random_matryoshka, prefixes: 2, power: -0.5, order: energy}
      decoder: linear_decoder
losses:
  apart: {kind: orthogonality, of: inner.decoder.dictionary, chunk: 5}
""",
    "rows kept apart": """
width: 24
graph:
  center: pre_bias
  encoder: linear_encoder
  gate: {kind: batch_topk, k: 4}
  decoder: linear_decoder
losses:
  apart: {kind: orthogonality, chunk: 7, weight: 2.0}
""",
}
each = pytest.mark.parametrize("text", TOPOLOGIES.values(), ids=TOPOLOGIES.keys())


def _read(text: str, **training: Any) -> dict[str, Any]:
    document = YAML(typ="safe").load(text)
    optimizer = {"kind": "adam", "lr": 0.02}
    document["training"] = {"tokens": 32 * 20, "batch": 32, "optimizer": optimizer, **training}
    return document


def _started(document: dict[str, Any]) -> Member:
    return start(parse(document), data(), data(), precision="float64")


@each
def test_it_trains_and_both_executors_agree(text: str):
    documents = [_read(text, seed=seed, optimizer={"kind": "adam", "lr": lr}) for seed, lr in ((0, 0.02), (1, 0.01))]
    trained_in_both(lambda: [_started(document) for document in documents])


@each
def test_half_a_run_saved_and_continued_equals_a_straight_one(text: str, tmp_path: Path):
    straight, first, second = (_started(_read(text)) for _ in range(3))
    train([straight], Looped())
    train([first], Looped(), until_frac=0.5)
    save_member(first, tmp_path / "a.safetensors", "run")
    assert load_member(second, tmp_path / "a.safetensors", "run")
    train([second], Stacked())
    assert_same(straight, second)


def test_members_of_other_powers_and_decays_share_a_program():
    documents = []
    for power, decay in ((0.5, 0.9), (-1.0, 0.1)):
        document = _read(TOPOLOGIES["random, by energy"])
        document["graph"]["level"] |= {"power": power, "decay": decay}
        documents.append(document)
    alone, stacked = ([_started(document) for document in documents] for _ in range(2))
    assert len({member.assembly.receipt.structure for member in alone}) == 1
    train(alone, Looped())
    train(stacked, Stacked())
    for one, other in zip(alone, stacked):
        assert_same(one, other)


def test_every_step_draws_other_sizes_and_every_seed_others():
    def noise(seed: int, step: int) -> Tensor:
        sae = _started(_read(TOPOLOGIES["random"])).sae
        return noise_of(sae, seed, step, 32, torch.float64, torch.device("cpu"))["level.uniform"]

    assert noise(0, 0).shape == (WIDTH,)
    assert torch.equal(noise(0, 3), noise(0, 3))
    assert not torch.equal(noise(0, 3), noise(0, 4)) and not torch.equal(noise(0, 3), noise(1, 3))


def _one_step(text: str) -> tuple[Member, Tensor, Tensor, Tensor]:
    """Returns a member on its way, a batch, and the codes and the loss of its next step."""
    member = _started(_read(text))
    train([member], Looped(), until_frac=0.5)
    rows = member.batches.at(member.step)
    noise = noise_of(member.sae, 0, member.step, 32, torch.float64, torch.device("cpu"))
    progress = torch.tensor(0.5, dtype=torch.float64)
    _, terms, _ = member.sae(rows, progress, noise)
    x = member.sae.scale(rows)["x"]
    sae = member.sae
    pre = sae.block("encoder")(x=sae.block("center")(x=x, bias=sae.block("decoder").bias)["x"])["pre"]
    return member, x, sae.block("gate")(pre=pre)["code"], terms["reconstruction"]


def _equal_with_gradients(member: Member, ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs)
    parameters = list(member.parameters().values())
    for one, other in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters)):
        torch.testing.assert_close(one, other)
        assert one.any()


def _slices(member: Member, code: Tensor, order: Tensor, counts: list[int]) -> Iterator[Tensor]:
    """Yields what each slice of the latents adds, in an order."""
    rows = member.sae.block("decoder").dictionary
    for begin, end in pairwise([0, *counts]):
        yield code[:, order[begin:end]] @ rows[order[begin:end]]


def _error(x: Tensor, guess: Tensor) -> Tensor:
    return (x - guess).square().sum(-1).mean()


def test_the_mean_over_levels_with_that_of_the_bias_is_matryoshka_saes():
    """bartbussmann/matryoshka_sae: (|x - b|^2 + sum over groups of |x - x_hat|^2) / (groups + 1), before its mean over d."""
    member, x, code, loss = _one_step(TOPOLOGIES["bias level"])
    guess = member.sae.block("decoder").bias.expand_as(x)
    errors = [_error(x, guess)]
    for part in _slices(member, code, torch.arange(WIDTH), [3, 12, 24]):
        guess = guess + part
        errors.append(_error(x, guess))
    _equal_with_gradients(member, loss, sum(errors, torch.zeros(())) / 4)


def test_inner_levels_that_train_what_they_add_are_detached_ones():
    """chanind's: the sum over inner levels, what was decoded before taken as a constant from the second on; then the whole, plain."""
    member, x, code, loss = _one_step(TOPOLOGIES["added, by frequency"])
    usage = member.sae.block("level").usage
    order = torch.tensor(sorted(range(WIDTH), key=lambda latent: (-float(usage[latent]), latent)))
    assert order.tolist() != sorted(order.tolist())
    decoder = member.sae.block("decoder")
    guess, total = decoder.bias, _error(x, code @ decoder.dictionary + decoder.bias)
    for level, part in enumerate(_slices(member, code, order, [3, 12])):
        guess = (guess.detach() if level else guess) + part
        total = total + _error(x, guess)
    _equal_with_gradients(member, loss, total)


def test_the_mean_over_budgets_is_that_of_hierarchical_topk():
    member, x, code, loss = _one_step(TOPOLOGIES["budgets"])
    decoder, errors = member.sae.block("decoder"), []
    for budget in (1, 2, WIDTH):
        kept = torch.stack([row * (row.abs() >= row.abs().sort().values[-budget]) for row in code])
        errors.append(_error(x, kept @ decoder.dictionary + decoder.bias))
    _equal_with_gradients(member, loss, sum(errors, torch.zeros(())) / 3)


def test_a_penalty_on_levels_is_the_mean_of_their_running_sums():
    member = _started(_read(TOPOLOGIES["random, by energy"]))
    rows, noise = member.batches.at(0), noise_of(member.sae, 0, 0, 32, torch.float64, torch.device("cpu"))
    sae, x = member.sae, member.sae.scale(rows)["x"]
    code = sae.block("encoder")(x=x)["pre"].relu()
    counts = [*sae.block("level")._drawn(noise["level.uniform"]).tolist(), WIDTH]
    sizes = code.mean(0) * sae.block("decoder").dictionary.norm(dim=-1)
    blocks = torch.stack([sizes[begin:end].sum() for begin, end in pairwise([0, *counts])])
    _, terms, _ = sae(rows, torch.zeros((), dtype=torch.float64), noise)
    torch.testing.assert_close(terms["sparsity"], 0.1 * blocks.cumsum(0).mean())


def test_the_last_order_is_that_of_levels_at_inference():
    member = _started(_read(TOPOLOGIES["added, by frequency"]))
    train([member], Looped())
    usage = member.sae.block("level").usage
    levels = member.sae.signals(member.sae.scale(data()))["level.code"]
    first = usage.argsort(descending=True)[:3]
    assert usage.max() > 0 and set((levels[0] != 0).any(0).nonzero().flatten().tolist()) <= set(first.tolist())
    assert torch.equal(levels[-1], member.sae.encode(data()))


@pytest.mark.parametrize("name", ["weights", "added, by frequency", "bias level", "random", "random, by energy"])
def test_folding_drops_levels_whatever_they_read(name: str):
    document = _read(TOPOLOGIES[name])
    member = _started(document)
    train([member], Looped())
    spec, folded = fold(document, member.sae)
    assert "level" not in spec["graph"]
    assert torch.equal(folded.encode(data()), member.sae.encode(data()))
    torch.testing.assert_close(folded.reconstruct(data())["x"], member.sae.reconstruct(data())["x"])


def test_two_dictionaries_of_one_code_must_say_whose_rows_its_energy_is():
    document = _read(TOPOLOGIES["random, by energy"])
    document |= {"inputs": ["x", "y"], "outputs": {"x": "decoder", "y": "second"}}
    document["graph"]["second"] = {"kind": "linear_decoder", "norm": "free", "from": "level"}
    document["losses"] = {"reconstruction": {"kind": "squared_error", "from": {"reconstruction": "decoder", "target": "x"}}}
    document["losses"]["other"] = {"kind": "squared_error", "from": {"reconstruction": "second", "target": "y"}}
    with pytest.raises(AssemblyError, match=r"graph\.level.*could read any of"):
        assemble(parse(document), model=MODEL)
    document["graph"]["level"]["from"] = {"code": "gate", "dictionary": "second.dictionary"}
    assert assemble(parse(document), model=MODEL).receipt.width == WIDTH


@pytest.mark.parametrize("change", [lambda level: level | {"bias_level": False, "order": "index"}, lambda level: level])
def test_settings_added_since_leave_old_hashes_alone(change: Callable[[dict[str, Any]], dict[str, Any]]):
    document = recipe("matryoshka_batch_topk")
    document["graph"]["level"] = change({"kind": "matryoshka"})
    document["losses"]["reconstruction"] |= {"level_weights": None, "inner": "all"}
    assert assemble(parse(document), model=128, device="meta").receipt.arch == "5d67a4ec2d0d809f"
