"""Folding: gates of thresholds alone, and the same codes and reconstructions."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file

from archsearch.assembler.build import load_sae
from archsearch.assembler.fold import fold
from archsearch.assembler.parse import parse
from archsearch.assembler.sae import SAE
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.gates._base import Gate, above
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError, InvalidInput
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.assembler.test_topologies import CROSSCODER, MATRYOSHKA, TOPOLOGIES, TWO_STAGES
from tests.blocks.harness import data

CUTS = [None, {"share": 0.3}, {"l0": 2.1, "per": "all"}]
GATES = {
    "relu": {"kind": "relu"},
    "prolu": {"kind": "prolu"},
    "batch_topk": {"kind": "batch_topk", "k": 3},
    "batch_topk calibrated": {"kind": "batch_topk", "k": 3, "inference": "calibrated"},
    "topk calibrated": {"kind": "topk", "k": 3, "inference": "calibrated"},
    "feature_choice": {"kind": "feature_choice", "k": 3, "exponent": 2.0},
}
THRESHOLDS = [-0.5, 0.0, 1e-45, 1e-40, 0.1, 0.3, 1.0, 1e6]


def read(text: str, cut: dict[str, Any] | None = None) -> dict[str, Any]:
    document = YAML(typ="safe").load(text.replace("{kind: topk,", "{kind: topk, inference: calibrated,"))
    document["training"] = {"tokens": 32 * 20, "batch": 32, "optimizer": {"kind": "adam", "lr": 0.02}}
    return document | ({"calibration": {"kind": "remove_lowest", **cut}} if cut else {})


def chain(gate: dict[str, Any], cut: dict[str, Any] | None = None) -> dict[str, Any]:
    document = read(TOPOLOGIES["chain"], cut)
    document["graph"]["gate"] = gate
    return document


def trained(document: dict[str, Any], precision: str = "float32", until: float = 1.0) -> Member:
    rows = data(tuple(document.get("inputs", ["x"])))
    member = start(parse(document), rows, rows, precision=precision)
    train([member], Looped(), until_frac=until)
    return member


@torch.no_grad()
def assert_same(first: SAE, second: SAE) -> None:
    dtype = next(first.parameters()).dtype
    rows = {name: 3 * values.to(dtype) for name, values in data(tuple(first.scales)).items()}
    code = first.encode(rows)
    assert torch.equal(second.encode(rows), code) and code.any()
    for name, value in first.reconstruct(rows).items():
        torch.testing.assert_close(second.reconstruct(rows)[name], value, rtol=1e-5, atol=1e-6)


def kinds_in(graph: dict[str, Any]) -> set[str]:
    return {kind for entry in graph.values() for kind in ({entry["kind"]} | kinds_in(entry.get("graph", {})))}


def folded_gate(gate: Gate, cutoff: torch.Tensor) -> Gate:
    became = gate.folded(cutoff)
    other = catalogue()[became.settings["kind"]]
    made = other(other.Spec.model_validate(became.settings), Sizes(5, len(cutoff)))
    for name, value in became.parameters.items():
        getattr(made, name).data.copy_(value)
    return cast(Gate, made)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", GATES)
@torch.no_grad()
def test_a_gate_keeps_the_very_same_entries_where_values_tie_with_thresholds(name: str, dtype: torch.dtype):
    torch.set_default_dtype(dtype)
    try:
        spec = GATES[name]
        block = catalogue()[spec["kind"]]
        gate = cast(Gate, block(block.Spec.model_validate(spec), Sizes(5, len(THRESHOLDS))))
        values = torch.tensor(THRESHOLDS)
        beside = [values, torch.nextafter(values, values + 9), torch.nextafter(values, values - 9), -values, torch.randn(4, 8).flatten()]
        pre = torch.cat(beside)[:, None].expand(-1, len(THRESHOLDS)).contiguous()
        if "bias" in gate.axes:
            gate.bias.copy_(-values)
        if "seen" in gate.states:
            gate.seen.fill_(1.0)
        for index in range(len(THRESHOLDS)):
            if "threshold" in gate.states:
                least = values.clamp(min=0) if name.startswith("topk") else values
                gate.threshold.copy_(least[index] if gate.threshold.dim() == 0 else least)
            for cutoff in (torch.zeros_like(values), values.roll(index).clamp(min=0)):
                code = gate.infer(pre=pre)["code"]
                assert torch.equal(folded_gate(gate, cutoff).infer(pre=pre)["code"], torch.where(code.abs() >= cutoff, code, 0.0))
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_threshold_is_the_number_before_the_least_kept():
    least = torch.tensor([1.0, 0.0, -2.0])
    assert above(least).tolist() == [1 - 2**-24, 0.0, 0.0]


def test_a_latent_that_never_kept_anything_stays_off():
    member = trained(chain(GATES["feature_choice"]), until=0.2)
    assert (member.sae.block("gate").seen == 0).any()
    _, folded = fold(chain(GATES["feature_choice"]), member.sae)
    assert_same(member.sae, folded)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("cut", CUTS, ids=["whole", "share", "l0"])
@pytest.mark.parametrize("name", GATES)
def test_a_trained_sae_gives_the_same_codes_and_reconstructions(name: str, cut: dict[str, Any] | None, precision: str):
    document = chain(GATES[name], cut)
    member = trained(document, precision)
    written, folded = fold(document, member.sae)
    assert written["graph"]["gate"]["kind"] == "jumprelu" and written["calibration"] is None
    assert_same(member.sae, folded)
    assert next(folded.parameters()).dtype is next(member.sae.parameters()).dtype and not folded.training


@pytest.mark.parametrize("cut", CUTS, ids=["whole", "share", "l0"])
@pytest.mark.parametrize("name", [name for name in TOPOLOGIES if "gated" not in name])
def test_every_topology_folds(name: str, cut: dict[str, Any] | None, tmp_path):
    document = read(TOPOLOGIES[name], {**cut, "l0": 2.1 + 2 * ("skip" in name)} if cut and "l0" in cut else cut)
    member = trained(document)
    before = {key: value.clone() for key, value in member.sae.state_dict().items()}
    written, folded = fold(document, member.sae)
    assert_same(member.sae, folded)
    save_file(folded.state_dict(), tmp_path / "sae.safetensors")
    (tmp_path / "spec.json").write_text(json.dumps(written))
    again = load_sae(json.loads((tmp_path / "spec.json").read_text()), tmp_path / "sae.safetensors")
    assert_same(folded, again)
    assert "topk" not in " ".join(kinds_in(written["graph"]))
    for key, value in member.sae.state_dict().items():
        assert torch.equal(value, before[key]), "the trained SAE is left as it is"


def test_levels_and_auxiliary_terms_go_and_errors_of_the_output_stay():
    document = read(MATRYOSHKA)
    document["graph"]["deeper"] = {"kind": "linear_decoder", "from": "level"}
    document["outputs"] = {"x": "decoder"}
    document["losses"]["deeper"] = {"kind": "squared_error", "of": "deeper"}
    written, _ = fold(document, trained(document).sae)
    assert list(written["graph"]) == ["center", "encoder", "gate", "decoder"] and list(written["losses"]) == ["reconstruction"]
    assert written["graph"]["decoder"]["from"]["code"] == [{"signal": "gate.code", "detach": False}]
    document = read(CROSSCODER)
    assert list(fold(document, trained(document).sae)[0]["losses"]) == ["late", "reconstruction"]


def test_levels_inside_a_nested_graph_go_too():
    text = TWO_STAGES.replace(
        "gate: {kind: batch_topk, k: 2}, decoder", "gate: {kind: batch_topk, k: 2}, level: {kind: matryoshka, prefixes: [0.5]}, decoder"
    )
    document = read(text)
    document["graph"]["output"]["from"] = ["coarse", "fine"]
    member = trained(document)
    written, folded = fold(document, member.sae)
    assert list(written["graph"]["fine"]["graph"]) == ["encoder", "gate", "decoder"]
    assert_same(member.sae, folded)


AROUND = """
width: 24
graph:
  inner:
    kind: sae
    width: 24
    graph:
      encoder: linear_encoder
      gate: {kind: batch_topk, k: 3}
      level: {kind: matryoshka, prefixes: [0.5]}
      decoder: {kind: linear_decoder, from: gate}
  around: {kind: linear_decoder, from: inner.level}
losses:
  inner: {kind: squared_error, of: inner}
"""


def test_what_reads_a_level_from_around_its_nested_graph_is_rewired():
    document = read(AROUND)
    member = trained(document)
    written, folded = fold(document, member.sae)
    assert written["graph"]["around"]["from"]["code"] == [{"signal": "inner.gate.code", "detach": False}]
    assert_same(member.sae, folded)


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({"kind": "topk", "k": 3}, "`inference: calibrated`, which sets one"),
        ({"kind": "abs_topk", "k": 3}, "may be negative"),
        ({"kind": "groupmax", "k": 3}, "largest of each group.*train a gate of thresholds"),
        ({"kind": "gated"}, r"scales and shifts pre-activations.*such as `jumprelu`"),
        ({"kind": "gated_jumprelu"}, "scales and shifts pre-activations"),
    ],
)
def test_a_gate_without_thresholds_is_refused_with_the_reason(gate: dict[str, Any], reason: str):
    document = chain(gate)
    with pytest.raises(AssemblyError, match=rf"^graph\.gate: {gate['kind']} cannot be folded: .*{reason}"):
        fold(document, trained(document).sae)


def test_a_threshold_not_set_yet_is_refused():
    document = chain(GATES["topk calibrated"])
    with pytest.raises(InvalidInput, match="train it to the end"):
        fold(document, trained(document, until=0.5).sae)


def test_every_gate_that_cannot_be_folded_is_named():
    document = YAML(typ="safe").load(TWO_STAGES)
    document["training"] = {"tokens": 640, "batch": 32}
    document["graph"]["fine"]["graph"]["gate"] = {"kind": "groupmax", "k": 2}
    with pytest.raises(AssemblyError) as refused:
        fold(document, trained(document).sae)
    assert [problem.path for problem in refused.value.problems] == ["graph.coarse.graph.gate", "graph.fine.graph.gate"]
