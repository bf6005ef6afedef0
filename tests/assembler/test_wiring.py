"""What an unwired port reads, what wires may not do, and parameters that blocks lend each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.errors import AssemblyError
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.blocks.harness import data

MODEL = 6
CHAIN: dict[str, Any] = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 3}, "decoder": "linear_decoder"}
TRAINING = {"tokens": 320, "batch": 16}


def spec_of(graph: dict[str, Any], losses: dict[str, Any] | None = None, **more: Any) -> Any:
    return parse({"width": 12, "graph": graph, "losses": losses or {}, "training": TRAINING, **more})


def build(graph: dict[str, Any], losses: dict[str, Any] | None = None, **more: Any) -> Assembly:
    return assemble(spec_of(graph, losses, **more), model=MODEL, device="meta")


def trained(graph: dict[str, Any], losses: dict[str, Any] | None = None) -> Member:
    rows = data(("x",), MODEL)
    member = start(spec_of(graph, losses), rows, rows)
    train([member], Looped())
    assert member.failure is None and member.step == 20
    return member


def reads(built: Assembly, label: str) -> dict[str, str]:
    return {port: wires[0].signal for port, wires in built.graph.nodes[label].wires.items()}


def stages(coarse_gate: Any = "relu", fine_gate: Any = "relu", coarse_decoder: Any = "linear_decoder") -> dict[str, Any]:
    return {
        "coarse": {
            "kind": "sae",
            "width": 4,
            "graph": {"encoder": "linear_encoder", "gate": coarse_gate, "decoder": coarse_decoder},
        },
        "rest": {"kind": "subtract", "from": ["x", "coarse.reconstruction"]},
        "fine": {
            "kind": "sae",
            "width": 12,
            "graph": {"encoder": "linear_encoder", "gate": fine_gate, "decoder": "linear_decoder"},
        },
        "output": {"kind": "add", "from": ["coarse.reconstruction", "fine.reconstruction"]},
    }


# Cycles and rings.


def level(source: str) -> dict[str, Any]:
    return {"kind": "matryoshka", "prefixes": [0.5], "from": source}


@pytest.mark.parametrize(
    ("levels", "cycle"),
    [({"one": level("one")}, "one -> one"), ({"one": level("two"), "two": level("one")}, "(one -> two -> one|two -> one -> two)")],
    ids=["itself", "each other"],
)
def test_levels_that_read_themselves_are_a_cycle(levels: dict[str, Any], cycle: str):
    graph = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 3}, **levels, "decoder": "linear_decoder"}
    with pytest.raises(AssemblyError, match=rf"graph\.(one|two): blocks must not form a cycle: {cycle}"):
        build(graph)


def decoder(**wires: str) -> dict[str, Any]:
    return {"kind": "linear_decoder", "norm": "free", "from": {"code": "gate", **wires}}


@pytest.mark.parametrize("port", ["dictionary", "bias"])
def test_a_decoder_cannot_borrow_from_itself(port: str):
    what = rf"graph\.decoder: parameters must not be read in a ring: decoder\.{port} -> decoder\.{port}; .* needs its own"
    with pytest.raises(AssemblyError, match=what):
        build({**CHAIN, "decoder": decoder(**{port: f"decoder.{port}"})})


def test_decoders_cannot_borrow_from_each_other():
    graph = {**CHAIN, "decoder": decoder(bias="other.bias"), "other": decoder(bias="decoder.bias")}
    graph["output"] = {"kind": "add", "from": ["decoder", "other"]}
    with pytest.raises(AssemblyError, match=r"graph\.other: parameters must not be .* other\.bias -> decoder\.bias -> other\.bias"):
        build(graph)


def chain_of_two(last: str = "middle") -> dict[str, Any]:
    """Returns a graph of which the last decoder borrows a bias that is itself borrowed."""
    return {
        **CHAIN,
        "middle": decoder(bias="decoder.bias"),
        "last": decoder(bias=f"{last}.bias"),
        "output": {"kind": "add", "from": ["decoder", "middle", "last"]},
    }


def test_what_borrows_a_borrowed_parameter_reads_the_one_there_is():
    built = build({"center": {"kind": "pre_bias", "from": {"bias": "last.bias"}}, **chain_of_two()})
    assert built.graph.aliases == {"middle.bias": "decoder.bias", "last.bias": "decoder.bias"}
    graphs = [{"center": {"kind": "pre_bias", "from": {"x": "x", "bias": f"{end}.bias"}}, **chain_of_two()} for end in ("last", "decoder")]
    far, near = (trained(graph).sae.state_dict() for graph in graphs)
    assert {name for name in far if name.endswith("bias")} == {"blocks.decoder.bias", "blocks.encoder.bias"}
    for name, value in near.items():
        torch.testing.assert_close(far[name], value)


def test_several_names_of_one_parameter_are_no_choice():
    built = build({"center": "pre_bias", **chain_of_two()})
    assert reads(built, "center")["bias"] == "decoder.bias"


# Tied weights: the rows are an encoder's, and everything that reads a dictionary still finds one.

TIED: dict[str, Any] = {**CHAIN, "decoder": decoder(dictionary="encoder.weight")}


@pytest.mark.parametrize(
    ("gate", "term"),
    [
        ("relu", {"kind": "l1", "norm": "dictionary"}),
        ({"kind": "topk", "k": 3}, {"kind": "aux_k", "dead_after_frac": 0.2}),
        ("gated", "squared_error"),
    ],
    ids=["l1", "aux_k", "gated"],
)
def test_tied_rows_are_a_dictionary(gate: Any, term: Any):
    graph = {**TIED, "gate": gate}
    built = build(graph, {"term": term})
    reader = "gate" if gate == "gated" else "losses/term"
    assert reads(built, reader)["dictionary"] == "decoder.dictionary"
    assert built.graph.aliases == {"decoder.dictionary": "encoder.weight"}
    first = trained(graph, {"term": term})
    assert "blocks.decoder.dictionary" not in first.sae.state_dict()


def test_saying_what_is_read_anyway_changes_nothing():
    spelt = {"kind": "l1", "norm": "dictionary", "from": {"code": "gate", "dictionary": "decoder.dictionary"}}
    built = [build({**TIED, "gate": "relu"}, {"term": term}) for term in ({"kind": "l1", "norm": "dictionary"}, spelt)]
    assert built[0].receipt.arch == built[1].receipt.arch


def test_two_decoders_with_the_same_borrowed_rows_leave_a_choice():
    graph = {**TIED, "other": decoder(dictionary="encoder.weight"), "output": {"kind": "add", "from": ["decoder", "other"]}}
    with pytest.raises(AssemblyError, match=r"losses\.term: port 'dictionary' could read any of .* say which"):
        build(graph, {"term": {"kind": "aux_k", "dead_after_frac": 0.2}})
    penalty = build(graph, {"term": {"kind": "l1", "norm": "dictionary"}}).graph.nodes["losses/term"].wires["dictionary"]
    assert [wire.signal for wire in penalty] == ["decoder.dictionary", "other.dictionary"], "a penalty counts both"


# Of several dictionaries, a block's own.

JUMPRELU = {"kind": "jumprelu"}


@pytest.mark.parametrize(
    "wires",
    [
        {"pre": "coarse.encoder", "dictionary": "coarse.decoder.dictionary"},
        {"pre": "coarse.encoder"},
        {"pre": {"signal": "coarse.encoder", "detach": True}, "dictionary": "coarse.decoder.dictionary"},
    ],
    ids=["both", "pre", "detached"],
)
def test_no_threshold_is_taken_from_another_dictionary(wires: dict[str, Any]):
    term = {"term": {"kind": "pre_act", "latents": "dead", "dead_after_frac": 0.2, "from": wires}}
    assert "threshold" not in reads(build(stages("relu", JUMPRELU), term), "losses/term")
    found = reads(build(stages(JUMPRELU, JUMPRELU), term), "losses/term")
    assert found["threshold"] == "coarse/gate.threshold"
    assert (found["dictionary"], found["idle"]) == ("coarse/decoder.dictionary", "coarse/gate.idle")


def test_a_dictionary_named_by_its_rows_is_the_blocks_own():
    term = {"term": {"kind": "aux_k", "dead_after_frac": 0.2, "from": {"dictionary": "fine.decoder.dictionary"}}}
    found = reads(build(stages(), term), "losses/term")
    assert (found["pre"], found["idle"]) == ("fine/encoder.pre", "fine/gate.idle")


def test_no_bias_is_taken_from_another_dictionary():
    graph = stages(coarse_decoder={"kind": "linear_decoder", "bias": False})
    term = {"kind": "multi_topk", "k": 4, "from": {"pre": "coarse.encoder"}}
    assert "bias" not in reads(build(graph, {"term": term}), "losses/term")
    term["from"] = {"pre": "fine.encoder"}
    assert reads(build(graph, {"term": term}), "losses/term")["bias"] == "fine/decoder.bias"


def test_a_centre_of_the_whole_sae_shares_the_only_bias_there_is():
    graph = {"center": "pre_bias", **stages(coarse_decoder={"kind": "linear_decoder", "bias": False})}
    graph["rest"] = {"kind": "subtract", "from": ["center", "coarse.reconstruction"]}
    assert reads(build(graph), "center")["bias"] == "fine/decoder.bias"


def test_what_a_decoder_reads_belongs_to_its_dictionary():
    coarse = {"encoder": "linear_encoder", "gate": "relu", "level": {"kind": "matryoshka", "prefixes": [0.5]}, "decoder": "linear_decoder"}
    graph = {
        "coarse": {"kind": "sae", "width": 4, "graph": coarse},
        **CHAIN,
        "encoder": {"kind": "linear_encoder", "from": "x"},
        "output": {"kind": "add", "from": ["coarse", "decoder"]},
    }
    built = build(graph, {"term": {"kind": "l1", "norm": "dictionary", "of": "coarse.level"}})
    assert reads(built, "losses/term")["dictionary"] == "coarse/decoder.dictionary"


@pytest.mark.parametrize(
    ("term", "what"),
    [
        ("l0", "l0 needs a signal of type active for port 'active', and nothing here gives one; blocks that do: "),
        ("l0", "gated (training: straight_through), "),
        ("l0", ", jumprelu"),
        ({"kind": "aux_k", "bias": "added"}, "aux_k needs a signal of type bias for port 'bias', and nothing here gives one"),
    ],
)
def test_a_port_that_nothing_can_be_wired_to_says_what_could(term: Any, what: str):
    graph = {"encoder": "linear_encoder", "gate": "relu", "decoder": {"kind": "linear_decoder", "bias": False}}
    with pytest.raises(AssemblyError, match=r"^losses\.term: ") as told:
        assemble(parse({"width": 8, "graph": graph, "losses": {"term": term}}), model=4, device="meta")
    assert what in str(told.value)


# A lending wire that stops the gradient: whoever reads the parameter under the borrower's name reads it detached.

LENDING = {"by default": {}, "by name": {"dictionary": "decoder.dictionary"}, "through another": {"dictionary": "twice.dictionary"}}


def tied(how: str, detach: bool) -> Any:
    """Returns an SAE with a penalty on the norms of rows that an encoder lends, its code detached: it trains nothing but the rows."""
    rows = {"code": "gate", "dictionary": {"signal": "encoder.weight", "detach": detach}}
    graph = {**CHAIN, "gate": "relu", "decoder": {"kind": "linear_decoder", "norm": "free", "from": rows}}
    if how == "through another":
        twice = {"kind": "linear_decoder", "norm": "free", "from": {"code": "gate", "dictionary": "decoder.dictionary"}}
        graph |= {"twice": twice, "output": {"kind": "add", "from": ["decoder", "twice"]}}
    term = {"kind": "l1", "norm": "dictionary", "of": {"signal": "gate", "detach": True}, "from": LENDING[how]}
    return spec_of(graph, {"term": {name: value for name, value in term.items() if value}})


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("how", LENDING)
def test_a_lending_wire_that_stops_the_gradient_stops_it_for_all_who_borrow(how: str, detach: bool):
    written = tied(how, detach)
    for spec in (written, parse(resolved(assemble(written, model=MODEL, device="meta")))):
        member = start(spec, data(), data(), precision="float64")
        _, terms, _ = member.sae(member.batches.at(0), torch.tensor(0.5, dtype=torch.float64))
        assert terms["term"].requires_grad is not detach
        if not detach:
            (found,) = torch.autograd.grad(terms["term"], member.sae.block("encoder").weight)
            assert found.abs().sum() > 0


@pytest.mark.parametrize("detach", [False, True])
def test_a_default_that_follows_a_lending_wire_stops_where_it_does(detach: bool):
    second = {"kind": "linear_decoder", "from": {"code": "other_gate", "bias": {"signal": "decoder.bias", "detach": detach}}}
    graph = {
        **CHAIN,
        "other_encoder": {"kind": "linear_encoder", "from": "x"},
        "other_gate": {"kind": "topk", "k": 3},
        "second": second,
        "output": {"kind": "add", "from": ["decoder", "second"]},
    }
    built = build(graph, {"dead": {"kind": "aux_k", "dead_after_frac": 0.2, "bias": "trained", "of": "other_encoder"}})
    (wire,) = built.graph.nodes["losses/dead"].wires["bias"]
    assert (wire.signal, wire.detach) == ("decoder.bias", detach)
