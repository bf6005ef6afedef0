"""What an SAE pays for, and what its hashes and numbers may not depend on."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.errors import AssemblyError, InvalidInput
from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start

STAGES: dict[str, Any] = {
    "enc1": "linear_encoder",
    "gate1": {"kind": "topk", "k": 4},
    "dec1": "linear_decoder",
    "enc2": {"kind": "linear_encoder", "from": "x"},
    "gate2": "relu",
}


def build(graph: dict[str, Any], **more: Any) -> Any:
    return assemble(parse({"width": 24, "graph": graph, "training": {"tokens": 640, "batch": 16}, **more}), model=8)


@pytest.mark.parametrize(
    "wires",
    [
        {"code": "gate2", "dictionary": "dec1.dictionary"},
        {"dictionary": "dec1.dictionary", "code": "gate2"},
        {"bias": "dec1.bias", "code": "gate2"},
        {"bias": "dec1.bias"},
    ],
    ids=str,
)
def test_a_code_decoded_with_borrowed_rows_is_paid_for(wires: dict[str, str]) -> None:
    graph = {**STAGES, "dec2": {"kind": "linear_decoder", "norm": "free", "from": wires}, "out": {"kind": "add", "from": ["dec1", "dec2"]}}
    built = build(graph)
    assert {dictionary.code for dictionary in built.graph.dictionaries} == {"gate1.code", "gate2.code"}
    rows = {"x": torch.randn(64, 8, generator=torch.Generator().manual_seed(0))}
    member = start(built.spec, rows, rows)
    assert evaluate(member.sae, rows).l0 > 8, "the dense second code counts"


def test_an_auxiliary_task_is_no_dictionary() -> None:
    graph = {
        "encoder": {"kind": "linear_encoder", "bias": False},
        "gate": {"kind": "gated", "training": "straight_through"},
        "task": {
            "kind": "linear_decoder",
            "norm": "free",
            "from": {"code": "gate.gate_code", "dictionary": {"signal": "decoder.dictionary", "detach": True}},
        },
        "decoder": {"kind": "linear_decoder", "from": "gate"},
    }
    built = build(graph, losses={"task": {"kind": "squared_error", "of": "task"}})
    assert [dictionary.code for dictionary in built.graph.dictionaries] == ["gate.code"]


def test_skips_to_several_targets_are_all_paid_for() -> None:
    graph = {
        "encoder": {"kind": "linear_encoder", "from": "a"},
        "gate": "topk",
        "to_a": "linear_decoder",
        "to_b": {"kind": "linear_decoder", "from": "gate"},
        "skip_a": {"kind": "linear_map", "bottleneck": 2, "from": "a"},
        "skip_b": {"kind": "linear_map", "bottleneck": 3, "from": "b"},
        "out_a": {"kind": "add", "from": ["to_a", "skip_a"]},
        "out_b": {"kind": "add", "from": ["to_b", "skip_b"]},
    }
    losses = {name: {"kind": "squared_error", "from": {"reconstruction": f"out_{name}", "target": name}} for name in ("a", "b")}
    losses["reconstruction"] = losses.pop("a")
    built = build(graph, inputs=["a", "b"], outputs={"a": "out_a", "b": "out_b"}, losses=losses)
    assert built.graph.dense_rank == 5


def test_the_order_of_ports_changes_nothing() -> None:
    def gated(first: str, second: str) -> Any:
        wires = {"gate": "opener", "magnitude": "strength"}
        graph = {
            "opener": "linear_encoder",
            "strength": {"kind": "linear_encoder", "from": "x"},
            "gate": {"kind": "gated", "from": {first: wires[first], second: wires[second]}},
            "decoder": "linear_decoder",
        }
        return build(graph, losses={"sparsity": {"kind": "l1", "of": "gate.gate_code"}, "dead": "aux_k"})

    one, other = gated("gate", "magnitude"), gated("magnitude", "gate")
    assert one.receipt.arch == other.receipt.arch
    for built in (one, other):
        assert [wire.signal for wire in built.graph.nodes["losses/dead"].wires["pre"]] == ["opener.pre"]


FORWARD = {
    "sum": {"kind": "add", "from": ["one", "two"]},
    "gate": {"kind": "topk", "k": 3},
    "decoder": "linear_decoder",
    "one": {"kind": "linear_encoder", "from": "x"},
    "two": {"kind": "mlp_encoder", "hidden": 6, "from": "x"},
}

SCRIPT = f"""
import torch
torch.set_num_threads(1)
from archsearch.assembler.parse import parse
from archsearch.training.member import start
rows = {{"x": torch.randn(64, 8, generator=torch.Generator().manual_seed(0))}}
spec = {{"width": 24, "graph": {FORWARD!r}, "outputs": {{"x": "decoder"}}, "training": {{"tokens": 640, "batch": 16}}}}
member = start(parse(spec), rows, rows)
print(repr(float(member.sae(rows, torch.zeros(()))[0].detach())))
"""


def test_first_weights_do_not_depend_on_the_process() -> None:
    found = set()
    for seed in ("0", "1", "3"):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        found.add(run.stdout)
    assert len(found) == 1


def test_first_weights_depend_neither_on_labels_nor_on_the_order_of_the_file() -> None:
    rows = {"x": torch.randn(64, 8, generator=torch.Generator().manual_seed(0))}
    renamed = {"two": "b", "one": "a", "sum": "s", "gate": "g", "decoder": "d"}
    other = {
        "b": FORWARD["two"],
        "a": FORWARD["one"],
        "s": {"kind": "add", "from": ["a", "b"]},
        "g": {"kind": "topk", "k": 3},
        "d": "linear_decoder",
    }
    losses = []
    for graph, output in ((FORWARD, "decoder"), (other, renamed["decoder"])):
        spec = {"width": 24, "graph": graph, "outputs": {"x": output}, "training": {"tokens": 640, "batch": 16}}
        member = start(parse(spec), rows, rows)
        losses.append((member.assembly.receipt.arch, float(member.sae(rows, torch.zeros(()))[0].detach())))
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("label", "what"), [("a.b", "letters"), ("", "letters"), ("x", "an input's name"), ("forward", "reserved")])
def test_labels_that_would_mean_two_things_are_refused(label: str, what: str) -> None:
    with pytest.raises(AssemblyError, match=what):
        build({label: "linear_encoder", "gate": "topk", "decoder": "linear_decoder"})


def test_numbers_must_be_finite() -> None:
    with pytest.raises(InvalidInput, match=r"training\.optimizer\.lr.*finite"):
        parse({"width": 8, "graph": {"e": "linear_encoder"}, "training": {"optimizer": {"kind": "adam", "lr": float("inf")}}})


def test_a_member_alone_equals_itself_in_company_bit_for_bit() -> None:
    rows = {"x": torch.randn(512, 64, generator=torch.Generator().manual_seed(0))}
    spec = {"width": 512, "graph": {"encoder": "linear_encoder", "gate": {"kind": "batch_topk", "k": 8}, "decoder": "linear_decoder"}}
    document = parse({**spec, "training": {"tokens": 256 * 20, "batch": 256}})
    alone, first, second = (start(document, rows, rows) for _ in range(3))
    train([alone], Looped(cores=4))
    train([first, second], Looped(cores=4))
    for name, value in alone.sae.state_dict().items():
        assert torch.equal(first.sae.state_dict()[name], value), name


def test_a_frozen_parameter_stays_in_both_executors() -> None:
    from archsearch.training.stacked import Stacked

    rows = {"x": torch.randn(256, 8, generator=torch.Generator().manual_seed(0))}
    graph = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 3}, "decoder": "linear_decoder"}
    document = parse({"width": 24, "graph": graph, "training": {"tokens": 640, "batch": 16}})
    for executor in (Looped(), Stacked()):
        member = start(document, rows, rows)
        dictionary = member.sae.block("decoder").dictionary.requires_grad_(False)
        before, weight = dictionary.clone(), member.sae.block("encoder").weight.detach().clone()
        train([member], executor)
        assert torch.equal(dictionary, before) and not torch.equal(member.sae.block("encoder").weight, weight)
