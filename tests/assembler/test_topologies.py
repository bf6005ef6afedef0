"""Every topology the design names, written as YAML, with no engine code of its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.parse import parse
from archsearch.errors import AssemblyError
from archsearch.training.member import start
from tests.assembler.agreement import trained_in_both
from tests.blocks.harness import data

MODEL = 6

CHAIN = """
width: 24
graph:
  center: pre_bias
  encoder: linear_encoder
  gate: {kind: topk, k: 3}
  decoder: linear_decoder
"""

TWO_ENCODERS = """
width: 24
graph:
  center: pre_bias
  opener: {kind: linear_encoder, bias: false}
  strength: {kind: mlp_encoder, hidden: 10, from: center}
  gate: {kind: gated, from: {gate: opener, magnitude: strength}}
  decoder: linear_decoder
losses:
  sparsity: {kind: l1, of: gate.gate_code, weight: 0.1}
"""

DEEP_RESIDUAL = """
width: 24
graph:
  center: pre_bias
  shallow: linear_encoder
  deep: {kind: mlp_encoder, hidden: 10, activation: gelu, from: center}
  both: {kind: add, from: [shallow, deep]}
  gate: {kind: batch_topk, k: 3}
  decoder: linear_decoder
"""

TWO_STAGES = """
width: 24
graph:
  coarse: {kind: sae, width: 8, graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: 1}, decoder: linear_decoder}}
  rest: {kind: subtract, from: [x, coarse.reconstruction]}
  fine: {kind: sae, width: 16, graph: {encoder: linear_encoder, gate: {kind: batch_topk, k: 2}, decoder: linear_decoder}}
  output: {kind: add, from: [coarse.reconstruction, fine.reconstruction]}
"""

TREE = """
width: 24
graph:
  root: {kind: sae, width: 8, graph: {encoder: linear_encoder, gate: {kind: topk, k: 1}, decoder: linear_decoder}}
  rest: {kind: subtract, from: [x, root]}
  left:
    kind: sae
    width: 8
    from: rest
    graph: {encoder: linear_encoder, gate: {kind: topk, k: 1}, decoder: {kind: linear_decoder, bias: false}}
  right:
    kind: sae
    width: 8
    from: rest
    graph:
      twig: {kind: sae, width: 4, graph: {encoder: linear_encoder, gate: {kind: topk, k: 1}, decoder: linear_decoder}}
      left_over: {kind: subtract, from: [x, twig]}
      encoder: linear_encoder
      gate: {kind: topk, k: 1}
      decoder: linear_decoder
      both: {kind: add, from: [twig, decoder]}
  output: {kind: add, from: [root, left, right]}
"""

SKIP = """
width: 24
graph:
  center: pre_bias
  encoder: linear_encoder
  gate: {kind: topk, k: 2}
  decoder: linear_decoder
  skip: {kind: linear_map, bottleneck: 2, from: x}
  output: {kind: add, from: [decoder, skip]}
"""

MATRYOSHKA = """
width: 24
graph:
  center: pre_bias
  encoder: linear_encoder
  gate: {kind: batch_topk, k: 3}
  level: {kind: matryoshka, prefixes: [0.25, 0.5]}
  decoder: linear_decoder
losses:
  reconstruction: {kind: squared_error, levels: mean}
  dead: {kind: aux_k, dead_after_frac: 0.2}
"""

CROSSCODER = """
width: 24
inputs: [early, late]
graph:
  from_early: {kind: linear_encoder, from: early}
  from_late: {kind: linear_encoder, bias: false, from: late}
  both: {kind: add, from: [from_early, from_late]}
  gate: {kind: topk, k: 3}
  to_early: {kind: linear_decoder, norm: free, from: gate}
  to_late: {kind: linear_decoder, norm: free, from: gate}
outputs: {early: to_early, late: to_late}
losses:
  reconstruction: {kind: squared_error, from: {reconstruction: to_early, target: early}}
  late: {kind: squared_error, from: {reconstruction: to_late, target: late}}
"""

TOPOLOGIES = {
    "chain": CHAIN,
    "two encoders into one gated block": TWO_ENCODERS,
    "deep residual encoder": DEEP_RESIDUAL,
    "residual two-stage": TWO_STAGES,
    "tree of levels": TREE,
    "skip path": SKIP,
    "Matryoshka levels under one loss": MATRYOSHKA,
    "two hook points in and out": CROSSCODER,
}
each = pytest.mark.parametrize("text", TOPOLOGIES.values(), ids=TOPOLOGIES.keys())


def _read(text: str, **training: Any) -> dict[str, Any]:
    document = YAML(typ="safe").load(text)
    optimizer = {"kind": "adam", "lr": 0.02}
    document["training"] = {"tokens": 32 * 20, "batch": 32, "optimizer": optimizer, "schedule": {"kind": "warmup_decay", "decay_frac": 0.0}}
    document["training"] |= training
    return document


def _assembled(text: str) -> Assembly:
    return assemble(parse(_read(text)), model=MODEL)


def _started(document: dict[str, Any]):
    spec = parse(document)
    rows = data(tuple(spec.inputs))
    return start(spec, rows, rows, precision="float64")


@each
def test_it_trains_and_both_executors_agree(text: str):
    documents = [_read(text, optimizer={"kind": "adam", "lr": lr}) for lr in (0.02, 0.01)]
    for member in trained_in_both(lambda: [_started(document) for document in documents]):
        first, last = member.history[0][1], member.history[-1][1]
        assert sum(last.values()) < sum(first.values())


def _renamed(graph: dict[str, Any]) -> dict[str, Any]:
    """Returns a graph with other labels, the same wires."""

    def wire(value: Any) -> Any:
        if isinstance(value, str):
            head, dot, rest = value.partition(".")
            return f"{head}_z{dot}{rest}" if head in graph else value
        return [wire(one) for one in value] if isinstance(value, list) else {port: wire(one) for port, one in value.items()}

    found = {}
    for label, spec in graph.items():
        spec = {"kind": spec} if isinstance(spec, str) else dict(spec)
        spec |= {"from": wire(spec["from"])} if "from" in spec else {}
        spec |= {"graph": _renamed(spec["graph"])} if "graph" in spec else {}
        found[f"{label}_z"] = spec
    return found


@each
def test_the_hash_knows_the_architecture_and_not_its_labels(text: str):
    document, renamed = _read(text), _read(text)
    renamed["graph"] = _renamed(document["graph"])
    for loss in renamed.get("losses", {}).values():
        loss |= {"of": re.sub(r"^gate", "gate_z", loss["of"])} if "of" in loss else {}
        loss |= {"from": {**loss["from"], "reconstruction": loss["from"]["reconstruction"] + "_z"}} if "from" in loss else {}
    if "outputs" in renamed:
        renamed["outputs"] = {target: f"{label}_z" for target, label in renamed["outputs"].items()}
    first, second = assemble(parse(document), model=MODEL).receipt, assemble(parse(renamed), model=MODEL).receipt
    assert set(first.blocks) != set(second.blocks)
    assert first.arch == second.arch
    other = _read(text.replace("k: 1", "k: 2").replace("k: 3", "k: 4").replace("kind: gated", "kind: gated, training: straight_through"))
    if text is SKIP:
        other["graph"]["skip"]["bottleneck"] = 3
    assert first.arch != assemble(parse(other), model=MODEL).receipt.arch


@each
def test_the_receipt_counts_what_was_built(text: str):
    built = _assembled(text)
    assert built.receipt.parameters == sum(value.numel() for value in built.sae.parameters())
    assert built.receipt.steps == 20
    assert built.receipt.flops > 0
    assert built.receipt.width == (28 if text is TREE else 24)
    assert built.receipt.dense_rank == (2 if text is SKIP else 0)


def test_the_chain_costs_what_it_costs():
    receipt = _assembled(CHAIN).receipt
    assert receipt.flops == 2 * 2 * MODEL * 24
    assert receipt.parameters == 2 * MODEL * 24 + 24 + MODEL


def test_a_dense_path_around_every_code_is_charged_in_full():
    document = _read(SKIP)
    document["graph"]["skip"].pop("bottleneck")
    assert assemble(parse(document), model=MODEL).receipt.dense_rank == MODEL


def test_levels_have_one_reconstruction_each_and_the_last_is_the_output():
    member = _started(_read(MATRYOSHKA))
    signals = member.sae.signals(member.sae.scale(data()))
    assert signals["decoder.reconstruction"].shape == (3, 256, MODEL)
    torch.testing.assert_close(member.sae.outputs(signals)["x"], signals["decoder.reconstruction"][-1])


def test_stages_explain_what_the_one_before_left_over():
    member = _started(_read(TWO_STAGES))
    signals = member.sae.signals(member.sae.scale(data()))
    left = signals["x"] - signals["coarse/decoder.reconstruction"]
    torch.testing.assert_close(signals["rest.difference"], left)
    assert [dictionary.width for dictionary in member.sae.graph.dictionaries] == [8, 16]
    assert member.sae.encode(data()).shape == (256, 24)


def test_each_target_of_a_crosscoder_is_rebuilt():
    member = _started(_read(CROSSCODER))
    assert set(member.sae.reconstruct(data(("early", "late")))) == {"early", "late"}


def test_a_crosscoder_encoder_starts_as_the_dictionary_of_its_own_hook_point():
    sae = _started(_read(CROSSCODER)).sae
    for hook in ("early", "late"):
        torch.testing.assert_close(sae.block(f"from_{hook}").weight.data, sae.block(f"to_{hook}").dictionary.data)


def test_a_gradient_stopped_before_a_nested_graph_stays_stopped():
    document = _read(TWO_STAGES)
    document["graph"]["fine"]["from"] = {"signal": "rest", "detach": True}
    built = assemble(parse(document), model=MODEL)
    assert built.graph.nodes["fine/encoder"].wires["x"][0].detach
    assert not _assembled(TWO_STAGES).graph.nodes["fine/encoder"].wires["x"][0].detach


@pytest.mark.parametrize(
    ("wires", "what"),
    [({"y": "rest"}, "no port 'y'"), ("nothing", "no signal 'nothing'"), (["rest", "x"], "takes one signal")],
)
def test_a_nested_graph_refuses_wires_it_would_ignore(wires: Any, what: str):
    document = _read(TWO_STAGES)
    document["graph"]["fine"]["from"] = wires
    with pytest.raises(AssemblyError, match=what):
        assemble(parse(document), model=MODEL)
