"""Whatever can be drawn from the catalogue trains alike in both executors, or is refused with a sentence before it is built."""

from __future__ import annotations

import copy
import json
import math
import random
import re
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.blocks._block import Out
from archsearch.blocks.catalogue import Catalogue, built_in, catalogue
from archsearch.blocks.gates._base import Gate
from archsearch.blocks.signals import Sizes
from archsearch.errors import InvalidInput
from archsearch.spec.block import Field, StepSpec
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.noise import noise_of
from archsearch.training.stacked import Stacked
from tests.blocks.drawing import Drawn, draw
from tests.blocks.drawing_settings import MODEL, Document, sibling
from tests.blocks.harness import data, kinds
from tests.blocks.toy_model import toy_windows

Rows = dict[str, Tensor]
FAST, CHUNK, CHUNKS = 160, 400, 10
LIMIT_SECONDS = 20


@dataclass(frozen=True)
class Verdict:
    """What became of a draw: the kinds it trained, or why it was refused.

    `differs`: whether its sibling had other settings; `diverged`: whether its optimizer let it diverge.
    """

    kinds: frozenset[str] = frozenset()
    refused: str = ""
    differs: bool = False
    diverged: bool = False


def examine(drawn: Drawn, blocks: Catalogue) -> Verdict:
    """Takes a drawn spec through assembly, both executors and inference; an assertion or any other error is a bug in what it uses."""
    document = drawn.document
    assert json.loads(json.dumps(document)) == document
    rows = data(tuple(document.get("inputs", ["x"])), MODEL)
    try:
        first = _started(document, rows, blocks)
    except InvalidInput as error:
        _refused_with_a_sentence(error, document)
        return Verdict(refused=str(error))
    assert not drawn.wrong, f"{drawn.wrong} is accepted"
    _receipt_is_sane(first.assembly)
    _resolves_to_itself(first.assembly, blocks)
    other = sibling(document, first.assembly, random.Random(f"sibling/{drawn.seed}"), blocks)
    before, gradients = _state(first), _gradients(first)
    alone = _alike((document, other), rows, drawn.until_frac, blocks)
    if any(member.failure for member in alone):
        # Rates at the ends of their ranges may well diverge; the optimizer's, that is, if it goes away with another one.
        _alike([_tamed(one) for one in (document, other)], rows, drawn.until_frac, blocks, diverging=False)
        return Verdict(_kinds(document), diverged=True)
    for one in alone:
        _infers(one, rows)
    _learned(alone[0], before, gradients, everything=not drawn.strayed)
    return Verdict(_kinds(document), differs=_unseeded(other) != _unseeded(document))


def _alike(documents: Iterable[Document], rows: Rows, until_frac: float, blocks: Catalogue, diverging: bool = True) -> list[Member]:
    """Trains specs of one structure in both executors; returns the members trained alone.

    Where two values tie exactly, which one a gate keeps is chance: what is not the same must be so once no two weights are equal.
    """
    for nudge in (0, 1, 2):
        alone, stacked = ([_nudged(_started(one, rows, blocks), nudge) for one in documents] for _ in range(2))
        train(alone, Looped(), until_frac)
        train(stacked, Stacked(), until_frac)
        assert diverging or not any(member.failure for member in alone), [member.failure for member in alone]
        if any(member.failure for member in alone):
            assert [bool(one.failure) for one in alone] == [bool(two.failure) for two in stacked]
            return alone
        try:
            for one, two in zip(alone, stacked):
                _trained_alike(one, two)
        except AssertionError:
            if nudge:
                raise
        else:
            if nudge != 1:
                return alone
    raise AssertionError("unreachable")


@torch.no_grad()
def _nudged(member: Member, seed: int) -> Member:
    """Moves every parameter a little, in place, and lets its block put it where it keeps it."""
    if seed:
        generator = torch.Generator().manual_seed(seed)
        for value in member.parameters().values():
            value += 0.01 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for label in member.sae.graph.nodes:
            block = member.sae.block(label)
            block.renormalise({name: value.data for name, value in block.named_parameters()})
    return member


def _tamed(document: Document) -> Document:
    training = {name: value for name, value in document["training"].items() if name not in ("optimizer", "clip_norm")}
    return {**document, "training": training}


def _started(document: Document, rows: Rows, blocks: Catalogue) -> Member:
    # Rows held out are others than those trained on: a threshold taken from a row would tie with it while no parameter has moved yet.
    held_out = {name: 1.01 * values for name, values in rows.items()}
    return start(parse(document, blocks), rows, held_out, precision="float64", blocks=blocks, windows=toy_windows(rows))


def _refused_with_a_sentence(error: InvalidInput, document: Document) -> None:
    assert error.problems
    for problem in error.problems:
        steps = problem.path.split(".")
        assert len(problem.what) > 10, f"no sentence: {problem}"
        assert steps[0] in catalogue().grammar.sae.model_fields, f"no path: {problem}"
        if steps[0] in ("graph", "losses") and len(steps) > 1:
            assert steps[1] in document[steps[0]] or steps[1] == "reconstruction", f"the path leads nowhere: {problem}"


def _receipt_is_sane(built: Assembly) -> None:
    receipt, training = built.receipt, built.spec.training
    assert len(receipt.arch) == len(receipt.structure) == 16
    assert receipt.parameters == sum(value.numel() for value in built.sae.parameters()) > 0
    assert receipt.flops > 0 and receipt.steps == training.tokens // training.batch
    assert receipt.width == sum(dictionary.width for dictionary in built.graph.dictionaries) > 0
    assert 0 <= receipt.dense_rank <= MODEL * len(built.graph.outputs)
    assert set(receipt.blocks) == set(built.graph.nodes)
    for name, steps in receipt.events.items():
        assert steps == sorted(steps) and all(isinstance(step, int) and 1 <= step <= receipt.steps for step in steps), (name, steps)
    json.dumps(receipt.as_dict())


def _resolves_to_itself(built: Assembly, blocks: Catalogue) -> None:
    written = json.loads(json.dumps(resolved(built, blocks)))
    again = assemble(parse(written, blocks), model=MODEL, device="meta", blocks=blocks)
    assert again.receipt == built.receipt
    assert json.loads(json.dumps(resolved(again, blocks))) == written


def _gradients(member: Member) -> dict[str, Tensor | None]:
    """Returns the gradient of the first batch's loss by parameter, None where no path leads."""
    training, parameters = member.assembly.spec.training, member.parameters()
    sample = next(iter(parameters.values()))
    noise = noise_of(member.sae, training.seed, 0, training.batch, sample.dtype, sample.device)
    rows, splice = member.batches.take(0)
    loss, terms, _ = member.sae(rows, torch.zeros((), dtype=sample.dtype), noise, splice=splice)
    assert loss.isfinite(), {name: float(value.detach()) for name, value in terms.items()}
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found))


def _state(member: Member) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in member.sae.state_dict().items()}


def _learned(member: Member, before: dict[str, Tensor], gradients: dict[str, Tensor | None], everything: bool) -> None:
    """The loss reaches every encoder and decoder, and whatever it pulls at has moved."""
    graph = member.sae.graph
    for dictionary in graph.dictionaries if everything else ():
        for label in (*dictionary.path, *dictionary.decoders):
            own = [value for name, value in gradients.items() if name.startswith(f"blocks.{label.replace('.', '_')}.")]
            if graph.nodes[label].slot in ("encoder", "decoder") and own:
                assert any(value is not None for value in own), f"no gradient reaches {label}"
    at_rest = float(member.assembly.schedule(torch.zeros((), dtype=torch.float64))) == 0  # nothing moves in the first step of a warmup
    pulled = [name for name, value in gradients.items() if value is not None and value.abs().max() > 1e-6]
    after = member.parameters()
    still = [name for name in pulled if torch.equal(after[name], before[name])]
    assert not still or at_rest, f"gradient, and no movement: {still}"


def _trained_alike(alone: Member, stacked: Member) -> None:
    assert alone.step == stacked.step >= 2
    assert all(math.isfinite(value) for _, terms in alone.history for value in terms.values())
    assert [(step, what) for step, what, _ in alone.events] == [(step, what) for step, what, _ in stacked.events]
    for (step, terms), (same_step, same_terms) in zip(alone.history, stacked.history, strict=True):
        assert step == same_step and terms == pytest.approx(same_terms, rel=1e-8, abs=1e-10)
    twin = stacked.sae.state_dict()
    for name, value in alone.sae.state_dict().items():
        assert value.isfinite().all(), f"{name} is not finite"
        torch.testing.assert_close(twin[name], value, rtol=1e-8, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def _infers(member: Member, rows: Rows) -> None:
    code = member.sae.encode(rows)
    assert code.shape == (len(next(iter(rows.values()))), member.assembly.receipt.width) and code.isfinite().all()
    rebuilt = member.sae.reconstruct(rows)
    assert set(rebuilt) == set(member.sae.graph.outputs)
    for target, value in rebuilt.items():
        assert value.shape == rows[target].shape and value.isfinite().all(), target


def _kinds(document: Any) -> frozenset[str]:
    """Returns every kind a document names."""
    if not isinstance(document, dict):
        return frozenset()
    own = {document["kind"]} if isinstance(document.get("kind"), str) else set()
    return frozenset(own.union(*(_kinds(value) for value in document.values())))


def _unseeded(document: Document) -> Document:
    return {**document, "training": {**document["training"], "seed": 0, "data_seed": 0}}


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises in what takes longer: an assembler that never ends is a bug like any other."""

    def over(*_: Any) -> None:
        raise TimeoutError(f"no end after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@cache
def outcome(seed: int) -> Verdict | str:
    """Returns what became of a draw, or what went wrong, with the smallest spec in which it does."""
    drawn = draw(seed, catalogue())
    try:
        with within(LIMIT_SECONDS):
            return examine(drawn, catalogue())
    except Exception as error:
        small = drawn.document if isinstance(error, TimeoutError) else shrunk(drawn, type(error), catalogue())
        return f"seed {seed} ({drawn.star}, {drawn.topology}):\n{json.dumps(small)}\n{''.join(traceback.format_exception(error)[-3:])}"


def shrunk(drawn: Drawn, error: type[Exception], blocks: Catalogue) -> Document:
    """Returns a smaller spec that fails with the same type of error: keys are left out while it does."""

    def fails(document: Document) -> bool:
        try:
            with within(LIMIT_SECONDS):
                examine(replace(drawn, document=document), blocks)
        except error:
            return True
        except Exception:
            return False
        return False

    document, tried = drawn.document, 0
    for path in sorted(_paths(document), key=len):
        smaller = copy.deepcopy(document)
        node: Any = smaller
        for step in path[:-1]:
            node = node.get(step) if isinstance(node, dict) else None
        if not isinstance(node, dict) or path[-1] not in node or tried >= 60:
            continue
        del node[path[-1]]
        tried += 1
        document = smaller if fails(smaller) else document
    return document


def _paths(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if key not in ("kind", "graph", "width", "tokens", "batch"):
            yield (*path, key)
        yield from _paths(value, (*path, key))


@pytest.mark.parametrize("seed", range(FAST), ids=lambda seed: f"draw-{seed}")
def test_a_drawn_spec_trains_alike_in_both_executors_or_is_refused(seed: int):
    found = outcome(seed)
    assert isinstance(found, Verdict), found


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_thousands_of_drawn_specs_train_alike_in_both_executors_or_are_refused(chunk: int):
    seeds = range(FAST + chunk * CHUNK, FAST + (chunk + 1) * CHUNK)
    found = [outcome(seed) for seed in seeds]
    faults = [one for one in found if not isinstance(one, Verdict)]
    legal = [one for one in found if isinstance(one, Verdict) and not one.refused]
    assert not faults, f"{len(faults)} of {CHUNK}, the first:\n{faults[0]}"
    assert len(legal) > CHUNK / 2


def test_most_draws_are_legal_and_every_kind_of_the_catalogue_is_trained_in_one_of_them():
    found = [one for one in map(outcome, range(FAST)) if isinstance(one, Verdict)]
    legal = [one for one in found if not one.refused]
    assert len(legal) > 0.5 * FAST, Counter(one.refused for one in found).most_common(9)
    assert sum(one.differs for one in legal) > 0.8 * len(legal), "members stacked together must differ in more than their seed"
    missing = set(kinds()).difference(*(one.kinds for one in legal if not one.diverged))
    assert not missing, f"trained in no draw: {sorted(missing)}"


def test_some_draws_are_refused_for_what_was_made_wrong_on_purpose():
    wrong = [drawn for seed in range(FAST) if (drawn := draw(seed, catalogue())).wrong]
    assert len({drawn.wrong for drawn in wrong}) >= 4


def test_a_seed_always_draws_the_same_spec():
    assert draw(7, catalogue()) == draw(7, catalogue())
    assert draw(7, catalogue()).document != draw(8, catalogue()).document


# Blocks that break a rule each: the test must bite.


def _broken(name: str, forward: Callable[..., Out], **more: Any) -> type[Gate]:
    class Spec(StepSpec):
        kind: Literal["toy"] = "toy"
        slope: float = Field(1.0, gt=0, le=4, description="Factor on the code (no unit).")

    def __init__(self: Any, spec: Any, sizes: Sizes):
        Gate.__init__(self)
        self.setting("slope", spec.slope)
        self.plain = spec.slope

    return type(name, (Gate,), {"__doc__": name, "Spec": Spec, "paper": None, "__init__": __init__, "forward": forward, **more})


def _raises(*_: Any) -> None:
    raise ValueError("not the reader's business")


def _refuses_without_saying_where(*_: Any) -> None:
    raise InvalidInput(["no"])


def _good(self: Any, pre: Tensor) -> Out:
    return Out(code=pre.relu() * self.slope)


BROKEN: dict[str, tuple[type[Gate], str]] = {
    "cuts the gradient": (_broken("Cut", lambda self, pre: Out(code=pre.detach().relu() * self.slope)), "no gradient reaches"),
    "is not finite": (_broken("Log", lambda self, pre: Out(code=pre.log() * self.slope)), "tensor\\(nan|nan"),
    "reads a plain number": (_broken("Plain", lambda self, pre: Out(code=pre.relu() * self.plain)), "Expected|not close"),
    "branches on data": (_broken("Branch", lambda self, pre: Out(code=pre if pre.sum() > 0 else pre.relu())), "data-dependent|vmap"),
    "is not finite at inference": (_broken("Infer", _good, infer=lambda self, pre: Out(code=pre / 0)), "the SAE stopped being finite"),
    "crashes when sizes do not suit it": (_broken("Crash", _good, produces=classmethod(_raises)), "not the reader"),
    "refuses in a word": (_broken("Word", _good, produces=classmethod(_refuses_without_saying_where)), "no sentence"),
}


@pytest.mark.parametrize(("gate", "what"), BROKEN.values(), ids=BROKEN.keys())
def test_a_block_that_breaks_a_rule_is_caught(gate: type[Gate], what: str):
    blocks = Catalogue.of([*built_in().blocks.values(), gate])
    caught: list[str] = []
    for drawn in [draw(seed, blocks, star="toy") for seed in range(6)]:
        try:
            examine(drawn, blocks)
        except Exception as error:
            caught.append(f"{type(error).__name__}: {error}")
    assert len(caught) >= 2 and any(re.search(what, one) for one in caught), caught


def test_a_sound_block_of_a_users_own_is_drawn_and_passes():
    blocks = Catalogue.of([*built_in().blocks.values(), _broken("Sound", _good)])
    found = [examine(draw(seed, blocks, star="toy"), blocks) for seed in range(6)]
    assert sum("toy" in one.kinds for one in found) >= 2
