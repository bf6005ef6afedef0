"""Encoders that iterate, written as YAML: layers of shrinkage, a gate unrolled around another, and greedy gates on tied rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from archsearch.assembler.build import assemble
from archsearch.assembler.check import check_space
from archsearch.assembler.fold import fold
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import AssemblyError
from archsearch.evaluation.metrics import evaluate
from archsearch.spec.space import TARGET, Space
from archsearch.spec.yaml import loads
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.assembler.agreement import trained_in_both
from tests.blocks.harness import data

MODEL = 6

LAYERS = """
width: 24
graph:
  center: pre_bias
  encoder: {kind: lista_encoder, layers: 4, momentum: true, threshold: 0.1}
  gate: relu
  decoder: linear_decoder
losses:
  sparsity: {kind: l1, weight: 0.1}
"""

TIED_LAYERS = """
width: 24
graph:
  center: pre_bias
  encoder: {kind: lista_encoder, weights: tied, threshold: 0.1}
  gate: {kind: topk, k: 3}
  decoder: linear_decoder
"""

UNROLLED = """
width: 24
graph:
  center: pre_bias
  encoder: linear_encoder
  first: {kind: batch_topk, k: 3}
  refine: {kind: refine, from: {pre: encoder, weight: encoder.weight}}
  gate: {kind: batch_topk, k: 3}
  decoder: linear_decoder
losses:
  dead: {kind: aux_k, dead_after_frac: 0.2}
"""

UNROLLED_TWICE = """
width: 24
graph:
  encoder: {kind: mlp_encoder, hidden: 10}
  first: {kind: jumprelu, threshold: 0.3}
  refine: {kind: refine, from: encoder, learned: true}
  second: {kind: topk, k: 5}
  refine_again: {kind: refine, from: refine, eta: 0.5}
  gate: {kind: topk, k: 3}
  level: {kind: matryoshka, prefixes: [0.5]}
  decoder: linear_decoder
losses:
  reconstruction: {kind: squared_error, levels: mean}
"""

UNROLLED_STAGES = """
width: 24
graph:
  coarse:
    kind: sae
    width: 8
    graph:
      center: pre_bias
      encoder: linear_encoder
      first: {kind: topk, k: 1}
      refine: {kind: refine, from: encoder}
      gate: {kind: topk, k: 1}
      decoder: linear_decoder
  rest: {kind: subtract, from: [x, coarse.reconstruction]}
  fine:
    kind: sae
    width: 16
    graph:
      encoder: linear_encoder
      first: {kind: topk, k: 2}
      refine: {kind: refine, from: encoder}
      gate: {kind: topk, k: 2}
      decoder: linear_decoder
  output: {kind: add, from: [coarse.reconstruction, fine.reconstruction]}
"""

PURSUIT = """
width: 24
graph:
  center: pre_bias
  encoder: {kind: tied_encoder, bias: false}
  gate: {kind: matching_pursuit, k: 3}
  decoder: linear_decoder
"""

PURSUIT_BY_STAGES = """
width: 24
graph:
  coarse:
    kind: sae
    width: 8
    graph: {encoder: {kind: tied_encoder, bias: false}, gate: {kind: matching_pursuit, k: 1}, decoder: linear_decoder}
  rest: {kind: subtract, from: [x, coarse.reconstruction]}
  fine:
    kind: sae
    width: 16
    graph: {encoder: linear_encoder, gate: {kind: orthogonal_matching_pursuit, k: 2}, decoder: {kind: linear_decoder, norm: free}}
  output: {kind: add, from: [coarse.reconstruction, fine.reconstruction]}
"""

ORTHOGONAL = """
width: 24
graph:
  center: pre_bias
  encoder: {kind: tied_encoder, bias: false}
  gate: {kind: orthogonal_matching_pursuit, k: 3}
  level: {kind: matryoshka, prefixes: [0.5]}
  decoder: linear_decoder
losses:
  reconstruction: {kind: squared_error, levels: mean}
"""

TIED_THE_OTHER_WAY = """
width: 24
graph:
  center: pre_bias
  encoder: {kind: linear_encoder, bias: false}
  gate: {kind: matching_pursuit, k: 3}
  decoder: {kind: linear_decoder, norm: free, from: {code: gate, dictionary: encoder.weight}}
"""

TOPOLOGIES = {
    "layers of shrinkage": LAYERS,
    "tied layers before a count": TIED_LAYERS,
    "a gate unrolled": UNROLLED,
    "unrolled twice, around gates of two kinds": UNROLLED_TWICE,
    "two stages, each unrolled": UNROLLED_STAGES,
    "matching pursuit": PURSUIT,
    "greedy stages": PURSUIT_BY_STAGES,
    "orthogonal matching pursuit under levels": ORTHOGONAL,
    "rows tied the other way": TIED_THE_OTHER_WAY,
}
each = pytest.mark.parametrize("text", TOPOLOGIES.values(), ids=TOPOLOGIES.keys())


def _read(text: str, **more: Any) -> dict[str, Any]:
    training = {"tokens": 32 * 20, "batch": 32, "optimizer": {"kind": "adam", "lr": 0.02}, "schedule": {"kind": "warmup_decay"}}
    training["schedule"] |= {"decay_frac": 0.0}
    return {**YAML(typ="safe").load(text), "training": training, **more}


def _started(document: dict[str, Any]) -> Member:
    return start(parse(document), data(), data(), precision="float64")


def _trained(document: dict[str, Any]) -> Member:
    member = _started(document)
    train([member], Looped())
    return member


@each
def test_it_trains_and_both_executors_agree(text: str):
    documents = [_read(text), _read(text)]
    documents[1]["training"]["optimizer"] = {"kind": "adam", "lr": 0.01}
    trained_in_both(lambda: [_started(document) for document in documents])


@each
def test_an_sae_rebuilt_from_its_resolved_spec_is_the_same(text: str):
    built = assemble(parse(_read(text)), model=MODEL)
    assert assemble(parse(resolved(built)), model=MODEL).receipt == built.receipt
    assert built.receipt.dense_rank == 0


@pytest.mark.parametrize("gate", sorted(catalogue().slots["gate"]))
def test_any_gate_can_be_unrolled(gate: str):
    document = _read(UNROLLED)
    document["graph"]["first"] = {"kind": gate, **({"k": 3} if catalogue()[gate].l0_setting else {})}
    member = _trained(document)
    assert member.failure is None and [d.name for d in member.sae.graph.dictionaries] == ["gate"]


# What a first gate is.


def test_a_first_gate_is_no_dictionary_and_codes_are_those_of_the_second():
    member = _trained(_read(UNROLLED))
    (dictionary,) = member.sae.graph.dictionaries
    assert dictionary.name == "gate" and dictionary.path == ("gate", "refine", "encoder", "first")
    signals = member.sae.signals(member.sae.scale(data()))
    assert torch.equal(member.sae.encode(data()), signals["gate.code"])
    assert not torch.equal(signals["gate.code"], signals["first.code"])
    assert evaluate(member.sae, data()).l0 == pytest.approx(float((signals["gate.code"] != 0).sum(-1).double().mean()))


@pytest.mark.parametrize("center", ["none", "shared", "own"])
def test_what_is_left_over_is_the_error_of_the_decoder_whatever_centres_the_encoder(center: str):
    document = _read(UNROLLED)
    document["graph"]["center"] = {"kind": "pre_bias", "shared": center == "shared"}
    if center == "none":
        del document["graph"]["center"]
    sae = _trained(document).sae
    signals = sae.signals(sae.scale(data()))
    decoder, rows, eta = sae.block("decoder"), sae.block("encoder").weight, sae.block("refine").eta
    error = signals["x"] - decoder(signals["first.code"])["reconstruction"]
    assert decoder.bias.abs().max() > 0.01
    torch.testing.assert_close(signals["refine.pre"], signals["encoder.pre"] + eta * error @ rows.T)


def test_a_centred_activation_by_wire_needs_no_bias():
    document = _read(UNROLLED)
    document["graph"]["refine"]["from"]["x"] = "center"
    document["graph"]["refine"]["bias"] = False
    plain, wired = _trained(_read(UNROLLED)).sae, _trained(document).sae
    torch.testing.assert_close(plain.encode(data()), wired.encode(data()))


def test_pre_activations_that_are_not_named_are_asked_for():
    document = _read(UNROLLED)
    document["graph"]["refine"] = "refine"
    with pytest.raises(AssemblyError, match=r"first\.code -> refine\.pre: port 'pre' takes pre; got code"):
        assemble(parse(document), model=MODEL)


def test_first_gates_keep_thresholds_of_their_own_and_fold_with_them():
    document = _read(UNROLLED)
    for label in ("first", "gate"):
        document["graph"][label]["inference"] = "calibrated"
    sae = _trained(document).sae
    sae.calibrate(data())
    signals = sae.signals(sae.scale(data()))
    for label in ("first", "gate"):
        assert (signals[f"{label}.code"] != 0).sum() == 3 * 256
    assert sae.block("first").threshold != sae.block("gate").threshold
    folded, module = fold(document, sae)
    assert folded["graph"]["first"]["kind"] == folded["graph"]["gate"]["kind"] == "jumprelu"
    assert torch.equal(module.encode(data()), sae.encode(data()))


def test_dead_latents_of_an_unrolled_sae_are_revived():
    document = _read(UNROLLED, revival={"kind": "anthropic_resampling", "at_frac": [0.5], "window_frac": 0.05})
    member = _trained(document)
    assert any(told.get("revived", 0) > 0 for _, _, told in member.events)


# In a space.


SPACE = """
name: unrolled
sae:
  width: 64
  graph:
    center: pre_bias
    encoder: linear_encoder
    first: {kind: batch_topk, k: 8}
    refine: {kind: refine, from: encoder, eta: {float: [0.1, 1], log: true}}
    gate: {kind: batch_topk, k: 8}
    decoder: linear_decoder
  training: {tokens: 32000, batch: 32}
variants:
  unrolled: {oneof: {once: {}, never: {graph.first: null, graph.refine: null}}}
study: {trials: 4, sweep: {l0: [4, 8]}, band: [4, 8]}
"""


def test_a_space_unrolls_a_gate_or_does_not_and_both_are_swept_over_l0():
    space = Space.read(loads(SPACE, file="unrolled.yaml"))
    assert check_space(space, model=16).assembled > 2
    for branch, counts in (("once", {"first": 8, "gate": 8}), ("never", {"gate": 8})):
        holes = {name: 0.5 for name, hole in space.parameters().items() if name.endswith("eta") and branch == "once"}
        spec = parse(space.template.refill({"unrolled": branch, TARGET: 8, **holes}).document)
        assert {label: block.k for label, block in spec.graph.items() if block.kind == "batch_topk"} == counts
