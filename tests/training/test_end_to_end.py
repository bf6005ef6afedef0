"""SAEs trained through the language model, on the bundled model itself, held against the Hugging Face model's own numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from archsearch.activations import LanguageModel, ModelWindows, Windows
from archsearch.activations.model import BUNDLED
from archsearch.assembler.parse import parse
from archsearch.blocks._splice import Pass
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.signals import Sizes
from archsearch.errors import DataError, InvalidInput
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.stacked import Stacked
from archsearch.training.window_batches import WindowBatches

HOOK, LATER, CONTEXT, WINDOWS = "blocks.1.hook_out", "blocks.3.hook_out", 7, 24


@cache
def model() -> LanguageModel:
    return LanguageModel(str(BUNDLED), dtype="float64")


@cache
def tokens() -> Tensor:
    drawn = torch.randint(1, 4096, (WINDOWS, CONTEXT), generator=torch.Generator().manual_seed(0))
    drawn[:, 0] = 0
    return drawn


@cache
def windows(*hooks: str, bos: bool = True) -> ModelWindows:
    """Windows of random tokens; every hook point is named after itself, or `x` if it is the only one."""
    names = ("x",) if len(hooks) == 1 else hooks
    lengths = torch.full((WINDOWS,), CONTEXT)
    return ModelWindows(model(), dict(zip(names, hooks)), Windows(tokens(), lengths, 0 if bos else None))


def document(losses: dict[str, Any], **training: Any) -> dict[str, Any]:
    return {
        "width": 160,
        "graph": {"center": "pre_bias", "encoder": "linear_encoder", "gate": {"kind": "topk", "k": 8}, "decoder": "linear_decoder"},
        "losses": losses,
        "training": {"tokens": 12 * 20, "batch": 12, "optimizer": {"kind": "adam", "lr": 0.003}, **training},
    }


def started(plain: dict[str, Any], *hooks: str, precision: str = "float64") -> Member:
    opened = windows(*(hooks or (HOOK,)))
    rows, _ = opened.clean(torch.arange(opened.count))
    return start(parse(plain), rows, rows, precision=precision, windows=lambda: opened)


@cache
def plain_model() -> Any:
    return AutoModelForCausalLM.from_pretrained(BUNDLED, attn_implementation="eager", dtype=torch.float64).eval()


@torch.no_grad()
def plain_logits(put: dict[int, Tensor] | None = None, first: int = 1) -> Tensor:
    """Logits of the Hugging Face model by itself; `put`: rows [batch, model] in place of what blocks give, from position `first` on."""
    found = plain_model()

    def hook(made: Tensor, block: Any, args: Any, output: Any) -> Any:
        value = output[0] if isinstance(output, tuple) else output
        value = torch.cat([value[:, :first], made.view(len(value), -1, value.shape[2])], 1)
        return (value, *output[1:]) if isinstance(output, tuple) else value

    handles = [found.gpt_neox.layers[block].register_forward_hook(partial(hook, made)) for block, made in (put or {}).items()]
    logits = found(input_ids=tokens()).logits
    for handle in handles:
        handle.remove()
    return logits


def divergence(clean: Tensor, left: Tensor) -> Tensor:
    p, q = clean.softmax(-1), left.softmax(-1)
    return (p * (p.log() - q.log())).sum(-1).mean()


def splice(*hooks: str) -> Any:
    names = ("x",) if len(hooks) == 1 else hooks
    opened = windows(*hooks)
    batches = WindowBatches(opened.clean(torch.arange(2))[0], WINDOWS * (CONTEXT - 1), 0, torch.float64, opened, names, (LATER,))
    batches.numbers = lambda step: torch.arange(WINDOWS)  # type: ignore[method-assign]  # in the order of `tokens()`
    return batches.take(0)


def term(kind: str, taken: Any, values: list[Tensor], **settings: Any) -> Tensor:
    block = catalogue()[kind]
    return block(block.Spec.model_validate({"kind": kind, **settings}), Sizes(128, 160))(values, splice=taken)["loss"]


def noisy(rows: Tensor, seed: int = 1) -> Tensor:
    return rows + 0.3 * rows.std() * torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed), dtype=rows.dtype)


def test_divergence_and_cross_entropy_are_the_models_own():
    rows, taken = splice(HOOK)
    made = noisy(rows["x"])
    clean, left = plain_logits(), plain_logits({1: made})
    torch.testing.assert_close(term("spliced_kl", taken, [made]), divergence(clean[:, 1:], left[:, 1:]))
    own = torch.nn.functional.cross_entropy(left[:, :-1].flatten(0, 1), tokens()[:, 1:].flatten())
    torch.testing.assert_close(term("spliced_cross_entropy", taken, [made]), own)


def test_all_targets_are_replaced_in_one_pass():
    rows, taken = splice("blocks.0.hook_out", "blocks.2.hook_out")
    made = [noisy(rows["blocks.0.hook_out"], 1), noisy(rows["blocks.2.hook_out"], 2)]
    left = plain_logits({0: made[0], 2: made[1]})
    torch.testing.assert_close(term("spliced_kl", taken, made), divergence(plain_logits()[:, 1:], left[:, 1:]))


def test_an_exact_reconstruction_costs_nothing():
    rows, taken = splice(HOOK)
    assert abs(term("spliced_kl", taken, [rows["x"]])) < 1e-12
    assert term("downstream_squared_error", taken, [rows["x"]], hooks=[LATER]) < 1e-20
    clean = torch.nn.functional.cross_entropy(plain_logits()[:, :-1].flatten(0, 1), tokens()[:, 1:].flatten())
    torch.testing.assert_close(term("spliced_cross_entropy", taken, [rows["x"]]), clean)


@pytest.mark.parametrize(
    ("kind", "settings"), [("spliced_kl", {}), ("spliced_cross_entropy", {}), ("downstream_squared_error", {"hooks": [LATER]})]
)
def test_gradients_through_the_model_are_those_of_finite_differences(kind: str, settings: dict[str, Any]):
    rows, taken = splice(HOOK)
    made = noisy(rows["x"]).requires_grad_()
    (gradient,) = torch.autograd.grad(term(kind, taken, [made], **settings), made)
    direction, step = noisy(torch.zeros_like(made) + 1e-9, 3) + torch.randn_like(made), 1e-5
    with torch.no_grad():
        high, low = (term(kind, taken, [made + sign * step * direction], **settings) for sign in (1, -1))
    torch.testing.assert_close((gradient * direction).sum(), (high - low) / (2 * step), rtol=1e-5, atol=1e-9)
    assert all(not weight.requires_grad and weight.grad is None for weight in model()._bridge.parameters())


E2E = {"reconstruction": "spliced_kl"}
BOTH = {"e2e": "spliced_kl", "later": {"kind": "downstream_squared_error", "hooks": [LATER]}, "ce": "spliced_cross_entropy"}


def test_a_term_on_the_model_takes_the_place_of_the_squared_error_or_stands_beside_it():
    for losses, labels in ((E2E, {"reconstruction"}), (BOTH, {"reconstruction", "e2e", "later", "ce"})):
        member = started(document(losses))
        train([member], Looped(), until_frac=0.05)
        assert member.failure is None and set(member.history[-1][1]) == labels


def test_training_brings_the_divergence_down_and_its_batches_are_of_windows():
    member = started(document(E2E, tokens=12 * 40), precision="float32")
    train([member], Looped())
    curve = [terms["reconstruction"] for _, terms in member.history]
    assert sum(curve[-4:]) < 0.7 * sum(curve[:4])
    assert isinstance(member.batches, WindowBatches) and member.assembly.receipt.steps == 40


def test_reconstructions_go_into_the_model_in_its_own_units():
    member = started(document(E2E))
    rows, taken = member.batches.take(0)
    seen: list[Tensor] = []

    def through(values: Any) -> Pass:
        seen.extend(values)
        return taken.clean

    member.sae(rows, torch.tensor(0.0, dtype=torch.float64), splice=replace(taken, through=through))
    assert len(seen) == 1 and not torch.isclose(member.sae.scaling("x").factor, torch.ones((), dtype=torch.float64), atol=0.1)
    torch.testing.assert_close(seen[0], member.sae.reconstruct(rows)["x"])


def test_terms_that_read_the_same_share_the_pass(monkeypatch: pytest.MonkeyPatch):
    runs: list[bool] = []
    run = LanguageModel.run
    monkeypatch.setattr(
        LanguageModel, "run", lambda self, *args, grad=False, **more: (runs.append(grad), run(self, *args, grad=grad, **more))[1]
    )
    member = started(document(BOTH))  # which runs the model to check hook points
    runs.clear()
    train([member], Looped(), until_frac=0.05)
    assert runs[:2] == [False, True] and runs.count(True) == 1, "one clean pass, one spliced"


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    first, second = (started(document(E2E)).batches for _ in range(2))
    assert isinstance(first, WindowBatches) and isinstance(second, WindowBatches)
    seen = [number for step in range(12) for number in first.numbers(step).tolist()]
    assert sorted(seen) == list(range(WINDOWS)) and seen != sorted(seen)
    for step in (9, 2):
        assert torch.equal(first.at(step)["x"], second.at(step)["x"])
    other = started(document(E2E, data_seed=1)).batches
    assert not torch.equal(first.at(0)["x"], other.at(0)["x"])


def test_half_a_run_saved_and_continued_equals_a_straight_one_bit_for_bit(tmp_path: Path):
    straight, first, second = (started(document(BOTH, tokens=12 * 6), precision="float32") for _ in range(3))
    train([straight], Looped())
    train([first], Looped(), until_frac=0.5)
    save_member(first, tmp_path / "a.safetensors", "run")
    assert load_member(second, tmp_path / "a.safetensors", "run")
    train([second], Looped())
    assert second.history == straight.history
    for name, value in straight.sae.state_dict().items():
        assert torch.equal(second.sae.state_dict()[name], value), name


TWO_TARGETS = {
    "width": 160,
    "inputs": ["blocks.0.hook_out", "blocks.2.hook_out"],
    "graph": {
        "one": {"kind": "linear_encoder", "from": "blocks.0.hook_out"},
        "two": {"kind": "linear_encoder", "bias": False, "from": "blocks.2.hook_out"},
        "both": {"kind": "add", "from": ["one", "two"]},
        "gate": {"kind": "topk", "k": 8},
        "early": {"kind": "linear_decoder", "norm": "free", "from": "gate"},
        "late": {"kind": "linear_decoder", "norm": "free", "from": "gate"},
    },
    "outputs": {"blocks.0.hook_out": "early", "blocks.2.hook_out": "late"},
    "losses": {"reconstruction": "spliced_kl", "later": {"kind": "downstream_squared_error", "hooks": [LATER]}},
    "training": {"tokens": 12 * 20, "batch": 12},
}
LEVELS = document(E2E)
DECODER = LEVELS["graph"].pop("decoder")
LEVELS["graph"] |= {"level": {"kind": "matryoshka", "prefixes": [0.5]}, "decoder": DECODER}

COHORTS = {
    "the same windows": ([document(BOTH), document({**BOTH, "e2e": {"kind": "spliced_kl", "weight": 3.0}}, seed=1)], (HOOK,)),
    "windows of their own": ([document(E2E), document(E2E, data_seed=1, seed=3)], (HOOK,)),
    "two targets": ([TWO_TARGETS, {**TWO_TARGETS, "training": {**TWO_TARGETS["training"], "seed": 1}}], tuple(TWO_TARGETS["inputs"])),
    "levels": ([LEVELS, {**LEVELS, "training": {**LEVELS["training"], "seed": 4}}], (HOOK,)),
}


@pytest.mark.parametrize(("documents", "hooks"), COHORTS.values(), ids=COHORTS)
def test_stacked_equals_looped_equals_alone(documents: list[dict[str, Any]], hooks: tuple[str, ...]):
    alone, looped, stacked = ([started(plain, *hooks) for plain in documents] for _ in range(3))
    assert len({member.assembly.receipt.structure for member in alone}) == 1, "one program for all"
    for member in alone:
        train([member], Looped(), until_frac=0.2)
    train(looped, Looped(cores=2), until_frac=0.2)
    train(stacked, Stacked(), until_frac=0.2)
    for one, two, three in zip(alone, looped, stacked):
        assert one.failure is None and one.history[-1][1] == pytest.approx(three.history[-1][1], rel=1e-9)
        for name, value in one.sae.state_dict().items():
            assert torch.equal(two.sae.state_dict()[name], value), "bit for bit, though threads share the model"
            torch.testing.assert_close(three.sae.state_dict()[name], value, rtol=1e-8, atol=1e-11)


def test_only_targets_are_replaced():
    """A transcoder: block 0's rows come in, block 2's are rebuilt and replaced; with exact rows nothing is lost."""
    plain = {
        **TWO_TARGETS,
        "graph": {"one": {"kind": "linear_encoder", "from": "blocks.0.hook_out"}, "gate": "relu", "late": "linear_decoder"},
    }
    member = started({**plain, "outputs": {"blocks.2.hook_out": "late"}}, *TWO_TARGETS["inputs"])
    rows, taken = member.batches.take(0)
    assert set(rows) == {*TWO_TARGETS["inputs"]}
    exact = taken.through([rows["blocks.2.hook_out"]]).logits
    torch.testing.assert_close(exact, taken.clean.logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("executor", [Looped, Stacked])
def test_sixteen_bit_products_leave_the_model_in_its_own_precision(executor: type):
    member = started(document(BOTH), precision="bfloat16")
    train([member], executor(), until_frac=0.1)
    full = started(document(BOTH), precision="float32")
    train([full], executor(), until_frac=0.1)
    assert member.failure is None
    assert member.history[-1][1] == pytest.approx(full.history[-1][1], rel=0.1)


def _no_model(member: dict[str, Any]) -> Member:
    rows = {"x": torch.randn(24, 128)}
    return start(parse(member), rows, rows, windows=lambda: None)


def test_activations_without_a_model_are_refused_at_the_term():
    with pytest.raises(InvalidInput, match=r"losses\.e2e: spliced_kl needs a language model to splice into"):
        _no_model(document({"e2e": "spliced_kl"}))


def test_a_batch_that_holds_no_whole_windows_is_refused_with_the_numbers():
    with pytest.raises(InvalidInput, match=r"training\.batch.*whole windows, of 6 rows each.*got 16: take 12 or 18"):
        started(document(E2E, batch=16))
    with pytest.raises(InvalidInput, match=r"got 4: take 6"):
        started(document(E2E, batch=4))


@pytest.mark.parametrize(
    ("hook", "match"),
    [
        ("blocks.3.hook_ot", "no hook point 'blocks.3.hook_ot'; did you mean 'blocks.3.hook_out'"),
        ("blocks.0.hook_out", "does not reach 'blocks.0.hook_out'"),
        (HOOK, f"does not reach '{HOOK}'"),
        ("blocks.2.attn.hook_pattern", "one vector for each token"),
    ],
)
def test_a_later_hook_point_that_nothing_reaches_is_refused(hook: str, match: str):
    with pytest.raises(DataError, match=match):
        started(document({"later": {"kind": "downstream_squared_error", "hooks": [hook]}}))


def test_a_reconstruction_of_some_targets_only_is_refused():
    plain = {**TWO_TARGETS, "losses": {"e2e": {"kind": "spliced_kl", "of": "late"}}}
    with pytest.raises(InvalidInput, match=r"losses\.e2e: all targets are replaced in one pass.*got 1"):
        started(plain, *TWO_TARGETS["inputs"])


def test_a_model_in_sixteen_bits_is_refused():
    short = LanguageModel(str(BUNDLED), dtype="bfloat16")
    with pytest.raises(DataError, match="must compute in 32 bits; this one has dtype 'bfloat16'"):
        ModelWindows(short, {"x": HOOK}, Windows(tokens(), torch.full((WINDOWS,), CONTEXT), 0))


def test_text_in_windows_that_are_mostly_shorter_than_the_context_is_refused():
    lengths = torch.cat([torch.full((WINDOWS - 4,), CONTEXT - 1), torch.full((4,), CONTEXT)])
    with pytest.raises(DataError, match=r"windows of the whole context, 7 tokens; 24 of 124 do; set `context` nearer"):
        ModelWindows(model(), {"x": HOOK}, Windows(tokens(), lengths, 0))
