"""Blocks of one slot can stand in for each other: what the types allow trains, what they forbid is refused, naming the wire."""

from __future__ import annotations

import random
from itertools import combinations, product
from typing import Any

import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.signals import Signal
from archsearch.errors import AssemblyError
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from archsearch.training.stacked import Stacked
from tests.blocks.harness import data, example, kinds
from tests.blocks.toy_model import toy_windows

Choice = tuple[Any, ...]

SAMPLED = 1000
"""Combinations the slow test draws; there are tens of thousands."""


def _losses() -> list[str | None]:
    return [None, *(kind for kind in kinds("loss") if kind != "squared_error")]


FACTORS: list[list[Any]] = [
    kinds("encoder"),
    kinds("gate"),
    [None, *kinds("level")],
    [*kinds("decoder"), "linear_decoder/free"],
    _losses(),
    [None, *kinds("revival")],
]


def _legal(pick: Choice) -> bool:
    """By the types alone: a loss that reads `active` needs a gate that gives it, a revival an encoder with directions.

    A choice not made yet (`...`) stands in nobody's way.
    """
    encoder, gate, _, _, loss, revival = pick
    if revival and revival is not ... and encoder is not ... and Signal.WEIGHT not in catalogue()[encoder].exposes.values():
        return False
    wanted = {port.types for port in catalogue()[loss].inputs.values()} if loss and loss is not ... else set()
    return (Signal.ACTIVE,) not in wanted or gate is ... or Signal.ACTIVE in catalogue()[gate].outputs.values()


def _pairwise(legal: bool) -> list[Choice]:
    """Builds rows until every pair of choices that a row of this kind can hold is in one: around a missing pair, each choice left
    open is the one that brings most of what is missing still."""
    places = list(combinations(range(len(FACTORS)), 2))
    missing = {((i, a), (j, b)): None for i, j in places for a, b in product(FACTORS[i], FACTORS[j])}
    found = []
    for pair in list(missing):
        if pair not in missing:
            continue
        row = _around(dict(pair), missing, legal)
        if row is not None:
            found.append(row)
            for one in places:
                missing.pop(((one[0], row[one[0]]), (one[1], row[one[1]])), None)
    return found


def _around(chosen: dict[int, Any], missing: dict[Any, None], legal: bool) -> Choice | None:
    """Returns a row with these choices in it, None where there is none; one that the types forbid is forbidden by these very choices."""
    row = [chosen.get(place, ...) for place in range(len(FACTORS))]
    if _legal(tuple(row)) is not legal:
        return None
    for place in [place for place in range(len(FACTORS)) if place not in chosen]:
        best, most = None, -1
        for value in FACTORS[place]:
            tried = tuple(value if index == place else other for index, other in enumerate(row))
            if _legal(tried) is legal and (new := _brings(place, value, row, missing)) > most:
                best, most = value, new
        row[place] = best
    return tuple(row)


def _brings(place: int, value: Any, row: list[Any], missing: dict[Any, None]) -> int:
    others = [(index, other) for index, other in enumerate(row) if other is not ... and index != place]
    return sum((tuple(sorted([one, (place, value)], key=lambda pair: pair[0]))) in missing for one in others)


def _document(pick: Choice, **more: Any) -> dict[str, Any]:
    encoder, gate, level, decoder, loss, revival = pick

    def spec(kind: str) -> dict[str, Any]:
        return {"kind": kind, **example(kind).settings}

    kind, _, norm = decoder.partition("/")
    graph = {"center": "pre_bias", "encoder": spec(encoder), "gate": spec(gate)}
    graph |= {"level": spec(level)} if level else {}
    graph["decoder"] = {"kind": kind, "norm": norm} if norm else spec(kind)
    document = {"width": 8, "graph": graph, "training": {"tokens": 160, "batch": 16, **more}}
    if loss:
        document["losses"] = {"term": spec(loss)}
    if revival:
        document["revival"] = {"kind": revival}
    return document


def _name(pick: Choice) -> str:
    return "-".join(str(part) for part in pick)


def _takes_two_steps(pick: Choice) -> None:
    opened = {"precision": "float64", "windows": toy_windows(data())}
    groups = [[start(parse(_document(pick, seed=seed)), data(), data(), **opened) for seed in (0, 1)] for _ in range(2)]
    train(groups[0], Looped(), until_frac=0.2)
    train(groups[1], Stacked(), until_frac=0.2)
    for alone, stacked in zip(*groups):
        assert alone.step == stacked.step == 2 and alone.failure is None
        for name, value in alone.sae.state_dict().items():
            assert value.isfinite().all(), name
            torch.testing.assert_close(stacked.sae.state_dict()[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pick", _pairwise(legal=True), ids=_name)
def test_every_pair_of_choices_trains_alike_in_both_executors(pick: Choice):
    _takes_two_steps(pick)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SAMPLED))
def test_choices_drawn_at_random_train_alike_in_both_executors(seed: int):
    draw = random.Random(seed)
    pick = tuple(draw.choice(factor) for factor in FACTORS)
    while not _legal(pick):
        pick = tuple(draw.choice(factor) for factor in FACTORS)
    _takes_two_steps(pick)


@pytest.mark.parametrize("pick", _pairwise(legal=False), ids=_name)
def test_choices_the_types_forbid_are_refused(pick: Choice):
    with pytest.raises(AssemblyError, match=r"losses\.term.*active|nothing to point at"):
        assemble(parse(_document(pick)), model=6)


def test_every_pair_the_types_allow_is_in_a_row():
    rows = _pairwise(legal=True)
    for i, j in combinations(range(len(FACTORS)), 2):
        pairs = {(row[i], row[j]) for row in rows}
        for a, b in product(FACTORS[i], FACTORS[j]):
            alone = tuple(a if place == i else b if place == j else ... for place in range(len(FACTORS)))
            assert ((a, b) in pairs) is _legal(alone), (a, b)


WRONG = {
    "a decoder reads pre-activations": ({"decoder": {"kind": "linear_decoder", "from": "encoder"}}, "encoder.pre -> decoder.code"),
    "an encoder reads a code": ({"decoder": {"kind": "linear_encoder"}}, "gate.code -> decoder.x"),
    "a gate reads the input": ({"gate": {"kind": "relu", "from": "x"}}, "x -> gate.pre"),
    "a gate reads a code": ({"second": {"kind": "relu", "from": "gate"}}, "gate.code -> second.pre"),
    "a dictionary that is a bias": (
        {"decoder": {"kind": "linear_decoder", "norm": "free", "from": {"code": "gate", "dictionary": "center.x"}}},
        "center.x -> decoder.dictionary",
    ),
}


@pytest.mark.parametrize(("graph", "wire"), WRONG.values(), ids=WRONG.keys())
def test_a_wire_of_the_wrong_type_is_named(graph: dict[str, Any], wire: str):
    document = _document(("linear_encoder", "relu", None, "linear_decoder", None, None))
    document["graph"] |= graph
    with pytest.raises(AssemblyError) as caught:
        assemble(parse(document), model=6)
    assert wire in str(caught.value)


@pytest.mark.parametrize(
    ("losses", "what"),
    [
        ({"term": {"kind": "l0", "of": "gate"}}, "gate.code -> losses/term.active: port 'active' takes active; got code"),
        ({"term": {"kind": "l1", "of": "encoder"}}, "encoder.pre -> losses/term.code: port 'code' takes code; got pre"),
        ({"term": {"kind": "aux_k", "of": "gate"}}, "gate.code -> losses/term.pre: port 'pre' takes pre; got code"),
    ],
)
def test_a_loss_on_the_wrong_signal_is_refused(losses: dict[str, Any], what: str):
    document = {**_document(("linear_encoder", "relu", None, "linear_decoder", None, None)), "losses": losses}
    with pytest.raises(AssemblyError) as caught:
        assemble(parse(document), model=6)
    assert what in str(caught.value)


def test_a_length_that_is_over_before_it_begins_is_refused():
    document = _document(("linear_encoder", "relu", None, "linear_decoder", None, None))
    document["losses"] = {"dead": {"kind": "aux_k", "dead_after_frac": 1e-6}}
    with pytest.raises(AssemblyError, match=r"losses\.dead\.dead_after_frac.*cannot act"):
        assemble(parse(document), model=6)
