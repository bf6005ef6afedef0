"""A trained SAE cut afterwards is the one that its spec trains to with a calibration, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.errors import AssemblyError
from archsearch.evaluation.metrics import evaluate, evaluate_cuts
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.events import cut
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.stacked import Stacked
from tests.blocks.harness import data
from tests.training.test_calibration import GRAPH, STAGES, sae

CALIBRATION = {"kind": "remove_lowest", "l0": 2, "per": "all"}
PLAIN = {**GRAPH, "gate": "relu"}
SPECS: dict[str, dict[str, Any]] = {
    "topk": sae(),
    "signed": sae(graph={**GRAPH, "gate": {"kind": "abs_topk", "k": 4}}),
    "a threshold that moves": sae(graph={**GRAPH, "gate": {"kind": "batch_topk", "k": 4}}),
    "a threshold set at the end": sae(graph={**GRAPH, "gate": {"kind": "topk", "k": 4, "inference": "calibrated"}}),
    "levels": sae(graph={"encoder": "linear_encoder", "gate": GRAPH["gate"], "level": {"kind": "hierarchical_topk", "budgets": [1, 2]},
                         "decoder": "linear_decoder"}, losses={"reconstruction": {"kind": "squared_error", "levels": "mean"}}),
    "two dictionaries": sae(graph=STAGES),
    "a controller": sae(graph=PLAIN, losses={"sparsity": {"kind": "l1", "weight": 0.1}}, target_l0=4),
    "a revival": sae(graph=PLAIN, revival={"kind": "anthropic_resampling", "at_frac": [0.5]}),
}  # fmt: skip


def trained(document: dict[str, Any], executor: Any = None, precision: str = "float32") -> Member:
    member = start(parse(document), data(), data(), precision=precision)
    train([member], executor or Looped())
    return member


@pytest.mark.parametrize("name", SPECS)
def test_the_cut_sae_is_what_its_spec_trains_to(name: str) -> None:
    document = SPECS[name]
    member = trained(document)
    before = {key: value.clone() for key, value in member.sae.state_dict().items()}
    spec = parse({**resolved(member.assembly), "calibration": CALIBRATION})
    ((found, _),) = cut(member.sae, [spec], member.calibrate)
    wanted = trained(resolved(found))
    assert found.sae.state_dict().keys() == wanted.sae.state_dict().keys()
    for key, value in wanted.sae.state_dict().items():
        assert torch.equal(found.sae.state_dict()[key], value), key
    assert evaluate(found.sae, data()) == evaluate(wanted.sae, data())
    assert evaluate(found.sae, data()).l0 < evaluate(member.sae, data()).l0
    assert all(torch.equal(before[key], value) for key, value in member.sae.state_dict().items())


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
@pytest.mark.parametrize("executor", [Looped, Stacked])
def test_in_every_precision_and_by_every_executor(executor: Any, precision: str) -> None:
    member = trained(sae(), executor(), precision)
    ((found, remark),) = cut(member.sae, [parse({**resolved(member.assembly), "calibration": CALIBRATION})], member.calibrate)
    wanted = trained(sae(calibration=CALIBRATION), executor(), precision)
    assert all(torch.equal(found.sae.state_dict()[key], value) for key, value in wanted.sae.state_dict().items())
    assert remark == wanted.remark == ""


def test_a_member_read_back_from_disk_is_cut_alike(tmp_path: Any) -> None:
    member = trained(sae())
    save_member(member, tmp_path / "member", "run")
    again = start(parse(sae()), data(), data())
    assert load_member(again, tmp_path / "member", "run")
    spec = parse({**resolved(member.assembly), "calibration": CALIBRATION})
    first, second = (cut(one.sae, [spec], one.calibrate)[0][0].sae.state_dict() for one in (member, again))
    assert all(torch.equal(first[key], value) for key, value in second.items())


def test_an_l0_that_paths_past_the_codes_use_up_is_refused() -> None:
    skipping = sae(graph={**GRAPH, "whole": {"kind": "add", "from": ["decoder", "x"]}})
    member = trained(skipping)
    with pytest.raises(AssemblyError, match="l0 must be above"):
        cut(member.sae, [parse({**resolved(member.assembly), "calibration": CALIBRATION})], member.calibrate)


@pytest.mark.parametrize("per", ["all", "latent"])
@pytest.mark.parametrize("name", SPECS)
def test_several_cuts_at_once_are_those_one_by_one(name: str, per: str) -> None:
    member = trained(SPECS[name])
    own = resolved(member.assembly)
    specs = [parse({**own, "calibration": {**CALIBRATION, "per": per, "l0": l0}}) for l0 in (3, 1.5, 2, 100)]
    together = cut(member.sae, specs, member.calibrate)
    assert [remark for _, remark in together][-1].endswith("removed nothing")
    measured = evaluate_cuts([found.sae for found, _ in together], data())
    for spec, (found, remark), told in zip(specs, together, measured, strict=True):
        ((alone, alike),) = cut(member.sae, [spec], member.calibrate)
        assert remark == alike and told == evaluate(alone.sae, data())
        assert all(torch.equal(found.sae.state_dict()[key], value) for key, value in alone.sae.state_dict().items())
    assert len({told.l0 for told in measured}) > 1 and measured[-1] == evaluate(member.sae, data())


def test_cut_saes_share_the_weights_of_theirs() -> None:
    member = trained(sae())
    ((found, _),) = cut(member.sae, [parse({**resolved(member.assembly), "calibration": CALIBRATION})], member.calibrate)
    assert [value.data_ptr() for value in found.sae.parameters()] == [value.data_ptr() for value in member.sae.parameters()]
