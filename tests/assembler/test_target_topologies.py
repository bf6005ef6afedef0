"""SAEs that rebuild something else than they read, or several hook points at once, written as YAML."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.fold import fold
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.errors import AssemblyError
from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.view import view
from tests.assembler.agreement import trained_in_both
from tests.blocks.harness import data

MODEL = 6

TRANSCODER = """
width: 24
inputs: [before, after]
graph:
  encoder: linear_encoder
  gate: {kind: batch_topk, k: 3}
  decoder: {kind: linear_decoder, norm: free}
outputs: {after: decoder}
losses:
  dead: {kind: aux_k, dead_after_frac: 0.2}
init: {kind: transposed, bias: mean}
"""

SKIP_TRANSCODER = """
width: 24
inputs: [before, after]
graph:
  encoder: linear_encoder
  gate: {kind: batch_topk, k: 3}
  decoder: {kind: linear_decoder, norm: free}
  skip: {kind: linear_map, bottleneck: 2, from: before}
  output: {kind: add, from: [decoder, skip]}
outputs: {after: output}
"""

CROSSCODER = """
width: 24
inputs: [early, late]
graph:
  center_early: {kind: pre_bias, from: early}
  center_late: {kind: pre_bias, from: late}
  from_early: {kind: linear_encoder, from: center_early}
  from_late: {kind: linear_encoder, bias: false, from: center_late}
  both: {kind: add, from: [from_early, from_late]}
  gate: {kind: batch_topk, k: 3}
  to_early: {kind: linear_decoder, norm: free, from: gate}
  to_late: {kind: linear_decoder, norm: free, from: gate}
outputs: {early: to_early, late: to_late}
losses:
  sparsity: {kind: l1, norm: dictionary, weight: 0.1}
  dead: {kind: aux_k, dead_after_frac: 0.2}
"""

DIFFING = """
width: 12
inputs: [base, tuned]
graph:
  shared_base: {kind: linear_encoder, from: base}
  shared_tuned: {kind: linear_encoder, bias: false, from: tuned}
  shared: {kind: add, from: [shared_base, shared_tuned]}
  shared_gate: relu
  own_base: {kind: sae, width: 6, from: base, graph: {encoder: linear_encoder}}
  own_tuned: {kind: sae, width: 6, from: tuned, graph: {encoder: {kind: linear_encoder, bias: false}}}
  own: {kind: add, from: [own_base, own_tuned]}
  own_gate: relu
  shared_to_base: {kind: linear_decoder, norm: free, from: shared_gate}
  shared_to_tuned: {kind: linear_decoder, norm: free, from: {code: shared_gate, dictionary: shared_to_base.dictionary}}
  own_to_base: {kind: linear_decoder, norm: free, bias: false, from: own_gate}
  own_to_tuned: {kind: linear_decoder, norm: free, bias: false, from: own_gate}
  to_base: {kind: add, from: [shared_to_base, own_to_base]}
  to_tuned: {kind: add, from: [shared_to_tuned, own_to_tuned]}
outputs: {base: to_base, tuned: to_tuned}
losses:
  shared: {kind: l1, of: shared_gate, norm: dictionary, weight: 0.02}
  own: {kind: l1, of: own_gate, norm: dictionary, weight: 0.1}
"""

CROSS_LAYER = """
width: 12
inputs: [in0, in1, in2, out0, out1, out2]
graph:
  encoder0: {kind: linear_encoder, from: in0}
  gate0: jumprelu
  encoder1: {kind: linear_encoder, from: in1}
  gate1: jumprelu
  encoder2: {kind: linear_encoder, from: in2}
  gate2: jumprelu
  decoder00: {kind: linear_decoder, norm: free, from: gate0}
  decoder01: {kind: linear_decoder, norm: free, bias: false, from: gate0}
  decoder02: {kind: linear_decoder, norm: free, bias: false, from: gate0}
  decoder11: {kind: linear_decoder, norm: free, from: gate1}
  decoder12: {kind: linear_decoder, norm: free, bias: false, from: gate1}
  decoder22: {kind: linear_decoder, norm: free, from: gate2}
  sum1: {kind: add, from: [decoder01, decoder11]}
  sum2: {kind: add, from: [decoder02, decoder12, decoder22]}
outputs: {out0: decoder00, out1: sum1, out2: sum2}
losses:
  sparsity0: {kind: tanh_penalty, of: gate0, norm: dictionary, dictionaries: concatenated, weight: 0.1}
  sparsity1: {kind: tanh_penalty, of: gate1, norm: dictionary, dictionaries: concatenated, weight: 0.1}
  sparsity2: {kind: tanh_penalty, of: gate2, norm: dictionary, weight: 0.1}
"""

TOPOLOGIES = {
    "transcoder": TRANSCODER,
    "skip transcoder": SKIP_TRANSCODER,
    "crosscoder": CROSSCODER,
    "shared and exclusive latents": DIFFING,
    "cross-layer transcoder": CROSS_LAYER,
}
each = pytest.mark.parametrize("text", TOPOLOGIES.values(), ids=TOPOLOGIES.keys())


def _read(text: str, **training: Any) -> dict[str, Any]:
    document = YAML(typ="safe").load(text)
    document["training"] = {"tokens": 32 * 20, "batch": 32, "optimizer": {"kind": "adam", "lr": 0.02}, **training}
    return document


def _built(document: dict[str, Any]) -> Assembly:
    return assemble(parse(document), model=MODEL, device="meta")


def _started(document: dict[str, Any]) -> Member:
    spec = parse(document)
    rows = data(tuple(spec.inputs))
    return start(spec, rows, rows, precision="float64")


def _wires(built: Assembly, label: str) -> dict[str, list[str]]:
    return {port: [wire.signal for wire in wires] for port, wires in built.graph.nodes[label].wires.items()}


@each
def test_it_trains_and_both_executors_agree(text: str):
    documents = [_read(text, optimizer={"kind": "adam", "lr": lr}) for lr in (0.02, 0.01)]
    trained_in_both(lambda: [_started(document) for document in documents])


@each
def test_a_resolved_spec_is_the_same_sae(text: str):
    built = _built(_read(text))
    again = _built(resolved(built))
    assert again.receipt.arch == built.receipt.arch and resolved(again) == resolved(built)


@each
def test_a_folded_sae_gives_the_same_reconstructions(text: str):
    member = _started(_read(text))
    train([member], Looped())
    _, folded = fold(resolved(member.assembly), member.sae)
    rows = data(tuple(member.assembly.spec.inputs))
    for target, value in member.sae.reconstruct(rows).items():
        torch.testing.assert_close(folded.reconstruct(rows)[target], value)


# Targets.


def test_only_the_target_counts():
    """FVU by hand, over what is rebuilt alone."""
    member = _started(_read(TRANSCODER))
    rows = data(("before", "after"))
    made = {target: value.detach() for target, value in member.sae.reconstruct(rows).items()}
    assert set(made) == {"after"}
    error, spread = (rows["after"] - made["after"]).square().sum(), (rows["after"] - rows["after"].mean(0)).square().sum()
    assert evaluate(member.sae, rows).fvu == pytest.approx(float(error / spread))


def test_a_transcoder_needs_its_target_for_training_alone():
    member = _started(_read(TRANSCODER))
    rows = {"before": data(("before", "after"))["before"]}
    assert member.sae.reconstruct(rows)["after"].shape == rows["before"].shape
    assert member.sae.encode(rows).shape == (256, 24)


@pytest.mark.parametrize("gate", ["topk", "gated"])
def test_terms_and_auxiliary_tasks_read_the_target_not_the_first_input(gate: str):
    document = _read(TRANSCODER)
    document["graph"]["gate"] = gate
    built = _built(document)
    reader = "losses/reconstruction" if gate == "topk" else "gate"
    assert _wires(built, reader)["target"] == ["after"]


def test_a_pre_bias_is_shared_with_a_decoder_of_its_own_hook_point_only():
    built = _built(_read(CROSSCODER))
    assert _wires(built, "center_early") == {"x": ["early"], "bias": ["to_early.bias"]}
    assert _wires(built, "center_late") == {"x": ["late"], "bias": ["to_late.bias"]}
    document = _read(TRANSCODER)
    document["graph"] = {"center": "pre_bias", **document["graph"]}
    assert _wires(_built(document), "center") == {"x": ["before"]}, "what a target is centred on says nothing of the input"


def test_several_targets_have_a_term_each():
    built = _built(_read(CROSSCODER))
    terms = {label.removeprefix("losses/"): _wires(built, label) for label in built.graph.nodes if label.startswith("losses/")}
    assert set(terms) == {"reconstruction", "reconstruction_late", "sparsity", "dead", "dead_late"}
    assert terms["reconstruction"] == {"reconstruction": ["to_early.reconstruction"], "target": ["early"]}
    assert terms["reconstruction_late"] == {"reconstruction": ["to_late.reconstruction"], "target": ["late"]}
    assert terms["dead_late"]["dictionary"] == ["to_late.dictionary"] and terms["dead"]["dictionary"] == ["to_early.dictionary"]
    assert terms["sparsity"]["dictionary"] == ["to_early.dictionary", "to_late.dictionary"]


def test_a_term_written_for_one_target_stays_one_term():
    document = _read(CROSSCODER)
    document["losses"] = {"reconstruction": {"kind": "squared_error", "of": "to_early"}, "late": {"kind": "squared_error", "of": "to_late"}}
    written = _built(document)
    assert _wires(written, "losses/late")["target"] == ["late"]
    document["losses"] = {}
    assert _built(document).receipt.arch == written.receipt.arch
    document["losses"] = {"late": {"kind": "squared_error", "from": {"target": "late"}}}
    assert _wires(_built(document), "losses/late")["reconstruction"] == ["to_late.reconstruction"]


def test_the_loss_is_the_sum_over_targets():
    member = _started(_read(CROSSCODER))
    rows = data(("early", "late"))
    scaled = member.sae.scale(rows)
    signals = member.sae.signals(scaled, infer=False)
    _, terms, _ = member.sae(rows, torch.tensor(0.5, dtype=torch.float64))
    for label, hook in (("reconstruction", "early"), ("reconstruction_late", "late")):
        error = (scaled[hook] - signals[f"to_{hook}.reconstruction"]).square().sum(-1).mean()
        torch.testing.assert_close(terms[label], error)


def test_an_input_that_nothing_reads_is_refused():
    document = _read(TRANSCODER)
    document["inputs"].append("other")
    with pytest.raises(AssemblyError, match="inputs: nothing reads the input 'other'"):
        _built(document)


def test_a_term_that_could_be_about_any_target_is_refused():
    document = _read(CROSSCODER)
    document["losses"]["odd"] = {"kind": "squared_error", "of": "shifted"}
    document["graph"]["shifted"] = {"kind": "subtract", "from": ["to_early", "to_late"]}
    with pytest.raises(AssemblyError, match=r"losses\.odd: port 'target' could read any of the targets \['early', 'late'\]; say which"):
        _built(document)


def test_a_full_skip_path_is_charged_in_full_and_a_narrow_one_for_its_bottleneck():
    document = _read(SKIP_TRANSCODER)
    assert _built(document).receipt.dense_rank == 2
    document["graph"]["skip"].pop("bottleneck")
    assert _built(document).receipt.dense_rank == MODEL


# Penalties.


def _norms(member: Member, *labels: str) -> list[Tensor]:
    return [member.sae.block(label).dictionary.norm(dim=-1) for label in labels]


def test_a_latent_counts_with_the_norms_of_all_its_decoders():
    member = _started(_read(CROSSCODER))
    rows = data(("early", "late"))
    code = member.sae.signals(member.sae.scale(rows), infer=False)["gate.code"]
    _, terms, _ = member.sae(rows, torch.tensor(0.5, dtype=torch.float64))
    early, late = _norms(member, "to_early", "to_late")
    torch.testing.assert_close(terms["sparsity"], 0.1 * (code * (early + late)).sum(-1).mean())


def test_rows_that_two_models_share_count_once_for_each():
    member = _started(_read(DIFFING))
    rows = data(("base", "tuned"))
    signals = member.sae.signals(member.sae.scale(rows), infer=False)
    _, terms, _ = member.sae(rows, torch.tensor(0.5, dtype=torch.float64))
    (shared,), (first, second) = _norms(member, "shared_to_base"), _norms(member, "own_to_base", "own_to_tuned")
    torch.testing.assert_close(terms["shared"], 0.02 * (signals["shared_gate.code"] * 2 * shared).sum(-1).mean())
    torch.testing.assert_close(terms["own"], 0.1 * (signals["own_gate.code"] * (first + second)).sum(-1).mean())
    assert [dictionary.width for dictionary in member.sae.graph.dictionaries] in ([12, 6], [6, 12])


def test_rows_of_all_layers_are_one_long_row_in_a_cross_layer_transcoder():
    member = _started(_read(CROSS_LAYER))
    train([member], Looped(), until_frac=0.5)  # dictionaries start as zero
    rows = data(tuple(member.assembly.spec.inputs))
    code = member.sae.signals(member.sae.scale(rows), infer=False)["gate1.code"]
    _, terms, _ = member.sae(rows, torch.tensor(0.5, dtype=torch.float64))
    row = torch.cat([member.sae.block(label).dictionary for label in ("decoder11", "decoder12")], -1)
    torch.testing.assert_close(terms["sparsity1"], 0.1 * (4 * code * row.norm(dim=-1)).tanh().sum(-1).mean())


# First weights and revival.


def test_encoder_and_dictionary_of_different_hook_points_do_not_start_as_each_other():
    sae = _started(_read(TRANSCODER)).sae
    assert not sae.block("decoder").dictionary.any()
    torch.testing.assert_close(sae.block("encoder").weight.norm(dim=-1), torch.ones(24, dtype=torch.float64))
    torch.testing.assert_close(sae.block("decoder").bias.data, sae.scale(data(("before", "after")))["after"].mean(0))


def test_a_dictionary_kept_at_unit_norm_starts_there_and_has_directions_of_its_own():
    document = _read(TRANSCODER)
    document["graph"]["decoder"]["norm"] = "unit"
    sae = _started(document).sae
    rows, weight = sae.block("decoder").dictionary, sae.block("encoder").weight
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(24, dtype=torch.float64))
    assert ((rows * weight).sum(-1).abs() < 0.99).all()


@pytest.mark.parametrize("text", [TRANSCODER, SKIP_TRANSCODER], ids=["plain", "skip"])
def test_directions_of_a_transcoder_come_from_where_they_point(text: str):
    (dictionary,) = view(_started(_read(text))).dictionaries
    assert {parameter.role: parameter.source for parameter in dictionary.own if parameter.role} == {
        "weight": "before",
        "dictionary": "after",
    }


def test_dead_latents_are_pointed_at_each_hook_point_by_itself():
    document = _read(CROSSCODER)
    document["revival"] = {"kind": "anthropic_resampling", "at_frac": [0.5], "window_frac": 0.1}
    member = _started(document)
    train([member], Looped(), until_frac=0.4)
    member.sae.idle_of("gate")[:5] = 1e6
    member.sae.block("to_late").dictionary.data.zero_()
    generator = torch.Generator().manual_seed(0)
    revival = member.assembly.revival
    assert revival is not None and revival.apply_to(view(member), generator) == {"revived": 5.0}
    late, early = (member.sae.block(f"to_{hook}").dictionary.data[:5] for hook in ("late", "early"))
    torch.testing.assert_close(late.norm(dim=-1), torch.ones(5, dtype=torch.float64))
    centred = {hook: member.sae.signals(member.sae.scale(data(("early", "late"))))[f"center_{hook}.x"] for hook in ("early", "late")}
    for rows, hook in ((late, "late"), (early, "early")):
        directions = torch.nn.functional.normalize(centred[hook].detach(), dim=-1)
        assert (rows @ directions.T).amax(-1).min() > 1 - 1e-9, "each row is one input's direction at its own hook point"
