"""Calibration of codes at the end of a run: what is cut, when, and for whom."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.errors import AssemblyError
from archsearch.evaluation.metrics import evaluate
from archsearch.search.jobs import Setting, run_hash
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.stacked import Stacked
from tests.blocks.harness import data

GRAPH = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 4}, "decoder": "linear_decoder"}
STAGE = {"kind": "sae", "width": 12, "graph": GRAPH}
STAGES = {
    "coarse": STAGE,
    "rest": {"kind": "subtract", "from": ["x", "coarse"]},
    "fine": STAGE,
    "both": {"kind": "add", "from": ["coarse", "fine"]},
}


def sae(**more: Any) -> dict[str, Any]:
    training = {"tokens": 40 * 32, "batch": 32, "optimizer": {"kind": "adam", "lr": 0.01}}
    return {"width": 24, "graph": copy.deepcopy(GRAPH), "training": training, **more}


def cut(**settings: Any) -> dict[str, Any]:
    return {"calibration": {"kind": "remove_lowest", **settings}}


def trained(document: dict[str, Any], executor: Any = None) -> Member:
    member = start(parse(document), data(), data(), precision="float64")
    train([member], executor or Looped())
    return member


@pytest.mark.parametrize("per", ["latent", "all"])
@pytest.mark.parametrize("graph", [GRAPH, STAGES], ids=["one dictionary", "two stages"])
def test_a_wanted_l0_is_left(graph: dict[str, Any], per: str):
    member = trained(sae(graph=graph, **cut(l0=2.5, per=per)))
    before = trained(sae(graph=graph))
    assert evaluate(member.sae, data()).l0 == pytest.approx(2.5, abs=0.01)
    assert member.events == [(40, "remove_lowest", {"l0_before": evaluate(before.sae, data()).l0, "l0": evaluate(member.sae, data()).l0})]
    assert member.remark == ""


def test_a_share_goes_and_the_smallest_go_first():
    member, before = trained(sae(**cut(share=0.25))), trained(sae())
    first, then = before.sae.encode(data()), member.sae.encode(data())
    assert int((then != 0).sum()) == round(0.75 * int((first != 0).sum()))
    for column, left in zip(first.T, then.T):
        assert torch.equal(left[left != 0], column[left != 0])
        lost = column[(column != 0) & (left == 0)]
        assert not len(lost) or lost.max() <= left[left != 0].min()


def test_signed_codes_are_cut_by_size():
    graph = {**GRAPH, "gate": {"kind": "abs_topk", "k": 4}}
    code = trained(sae(graph=graph, **cut(l0=2, per="all"))).sae.encode(data())
    least = trained(sae(graph=graph, **cut(l0=2, per="all"))).sae.cutoff_of("gate")[0]
    assert (code < 0).any() and code[code != 0].abs().min() == least


def test_levels_and_decoders_see_what_is_left():
    graph = {**GRAPH, "level": {"kind": "matryoshka", "prefixes": [0.5]}, "last": "linear_decoder"}
    del graph["decoder"]
    member = trained(sae(graph=graph, **cut(l0=2)))
    signals = member.sae.signals(member.sae.scale(data()))
    assert float((signals["gate.code"] != 0).sum(-1).double().mean()) == pytest.approx(2, abs=0.01)
    assert torch.equal(signals["level.code"][-1], signals["gate.code"])


def test_training_knows_nothing_of_it():
    member, before = trained(sae(**cut(l0=2))), trained(sae())
    for name, value in before.sae.state_dict().items():
        assert torch.equal(member.sae.state_dict()[name], value), name
    assert set(member.sae.state_dict()) - set(before.sae.state_dict()) == {"cutoffs.gate.least"}
    loss = [one.sae({"x": data()["x"]}, torch.tensor(0.5))[0] for one in (member, before)]
    assert loss[0] == loss[1]


def test_gates_are_calibrated_before_and_the_controller_looks_after():
    graph = {**GRAPH, "gate": {"kind": "topk", "k": 4, "inference": "calibrated"}}
    assert evaluate(trained(sae(graph=graph, **cut(l0=3))).sae, data()).l0 == pytest.approx(3, abs=0.01)
    steered = sae(graph={**GRAPH, "gate": "relu"}, losses={"sparsity": {"kind": "l1", "weight": 0.1}}, target_l0=8, **cut(l0=3))
    member = trained(steered)
    assert [name for _, name, _ in member.events][-2:] == ["remove_lowest", "l0_controller"]
    assert member.events[-1][2]["l0"] == pytest.approx(3, abs=0.01)
    assert member.remark == "asked for L0 8, it ends at 3.0: the calibration cuts codes after training"


def test_a_broken_code_is_not_hidden():
    member = trained(sae(**cut(l0=2)))
    member.sae.block("encoder").weight.data[0, 0] = torch.nan
    assert member.sae.encode(data()).isnan().any()


def test_what_there_was_nothing_to_remove_of_is_remarked():
    member = trained(sae(**cut(l0=9)))
    assert member.remark == f"asked to leave L0 9, the calibration found only {evaluate(member.sae, data()).l0:.1f} and removed nothing"
    assert not member.sae.cutoff_of("gate").any()


def test_members_stacked_are_cut_as_alone():
    documents = [sae(**cut(l0=2)), sae(**cut(share=0.5, per="all"))]
    members = [start(parse(document), data(), data(), precision="float64") for document in documents]
    assert len({member.assembly.receipt.structure for member in members}) == 1
    train(members, Stacked())
    for document, member in zip(documents, members):
        torch.testing.assert_close(member.sae.cutoff_of("gate"), trained(document).sae.cutoff_of("gate"))


def test_a_checkpoint_keeps_the_cutoffs(tmp_path):
    member, other = trained(sae(**cut(l0=2))), start(parse(sae(**cut(l0=2))), data(), data(), precision="float64")
    save_member(member, tmp_path / "member.safetensors", "run")
    assert load_member(other, tmp_path / "member.safetensors", "run")
    assert torch.equal(other.sae.encode(data()), member.sae.encode(data()))


def test_hashes_tell_it_only_where_it_is():
    def hashes(document: dict[str, Any]) -> tuple[str, str]:
        spec = parse(document)
        assembly = assemble(spec, model=6, device="meta")
        return assembly.receipt.structure, run_hash(spec, assembly, Setting(6, "data", "float32"))

    none, one, other = hashes(sae()), hashes(sae(**cut(l0=2))), hashes(sae(**cut(l0=3)))
    assert none[0] != one[0] == other[0]
    assert len({none[1], one[1], other[1]}) == 3
    assert hashes(sae(calibration=None)) == none


def test_a_wanted_l0_of_the_run_is_not_its_business():
    spec = parse(sae(target_l0=6, **cut(l0=2)))
    assert (spec.graph["gate"].k, spec.calibration.l0) == (6, 2)


def test_an_l0_below_what_flows_past_the_codes_is_refused():
    graph = {**GRAPH, "skip": {"kind": "linear_map", "bottleneck": 3, "from": "x"}, "sum": {"kind": "add", "from": ["decoder", "skip"]}}
    with pytest.raises(AssemblyError, match=r"calibration\.l0: l0 must be above 3"):
        assemble(parse(sae(graph=graph, **cut(l0=2))), model=6, device="meta")
