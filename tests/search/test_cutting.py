"""Which finished SAEs are cut to a study's points, by what, and which cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.evaluation.metrics import evaluate
from archsearch.search.cutting import Cutting
from archsearch.search.jobs import Draft, Setting
from archsearch.spec.space import StudySpec
from archsearch.training.member import Member
from tests.blocks.harness import data
from tests.training.test_calibration import GRAPH, cut, sae
from tests.training.test_cut import trained

SETTING = Setting(model=6, fingerprint="data", precision="float32")


def pointed(points: dict[str, Any]) -> StudySpec:
    """Returns the study of some points."""
    return StudySpec.model_validate({"points": points, "band": [1, 64], "sweep": 4})


def levels(member: Member, *l0: float) -> list[float]:
    """Returns the L0s a member is cut to, of those asked for."""
    cutting = Cutting.of(pointed({"l0": list(l0)}), SETTING)
    return [level for level, _ in cutting.saes(member, evaluate(member.sae, data()).l0)]


def test_only_what_lies_more_than_a_twentieth_above_is_cut() -> None:
    member = trained(sae())
    l0 = evaluate(member.sae, data()).l0
    assert levels(member, 1, l0 / 1.06, l0 / 1.04, l0, 5) == [1, l0 / 1.06]


def test_without_points_nothing_is_cut() -> None:
    assert not list(Cutting.of(StudySpec(), SETTING).saes(trained(sae()), 4.0))


def test_an_sae_whose_l0_is_no_number_is_not_cut() -> None:
    assert not list(Cutting.of(pointed({"l0": [2]}), SETTING).saes(trained(sae()), float("nan")))


def test_an_sae_with_a_calibration_of_its_own_is_cut_already() -> None:
    assert levels(trained(sae(**cut(share=0.1))), 1, 2) == []


def test_paths_past_the_codes_use_an_l0_up() -> None:
    width = data()["x"].shape[1]
    member = trained(sae(graph={**GRAPH, "whole": {"kind": "add", "from": ["decoder", "x"]}}))
    assert evaluate(member.sae, data()).l0 > 1.05 * (width + 0.5)
    assert levels(member, width - 1, width, width + 0.5) == [width + 0.5]


def test_a_code_of_equal_values_cannot_be_cut() -> None:
    member = trained(sae(graph={**GRAPH, "gate": "relu"}))
    with torch.no_grad():
        member.sae.block("encoder").weight.zero_()
        member.sae.block("encoder").bias.fill_(1.0)
    assert evaluate(member.sae, data()).l0 == 24 and levels(member, 2, 8) == []


def test_the_cut_is_the_one_asked_for() -> None:
    member = trained(sae())
    for given, per in ((None, "all"), ("remove_lowest", "latent"), ({"kind": "remove_lowest", "per": "latent"}, "latent")):
        cutting = Cutting.of(pointed({"l0": [3], "cut": given}), SETTING)
        (level, found), *_ = cutting.saes(member, 4.0)
        point = cutting.point(level, found, {})
        assert point.l0 == 3.0 and point.spec["calibration"] == {"kind": "remove_lowest", "l0": 3.0, "share": None, "per": per}
        assert len(set(found.sae.cutoff_of("gate").tolist())) == 1 if per == "all" else True


def test_a_point_has_the_run_hash_of_a_trial_of_its_spec() -> None:
    cutting = Cutting.of(pointed({"l0": [2]}), SETTING)
    (level, found), *_ = cutting.saes(trained(sae()), 4.0)
    point = cutting.point(level, found, {"l0": 2.0})
    for document in (point.spec, sae(calibration={"kind": "remove_lowest", "l0": 2, "per": "all"})):
        assert Draft(0, 0, document, {}).row(0, SETTING).run == point.run
    assert Draft(0, 0, sae(), {}).row(0, SETTING).run != point.run
    assert parse(point.spec).calibration.l0 == 2


@pytest.mark.parametrize("gate", ["topk", "batch_topk", "abs_topk"])
def test_the_member_is_left_as_it_was(gate: str) -> None:
    member = trained(sae(graph={**GRAPH, "gate": {"kind": gate, "k": 4}}))
    before = {name: value.clone() for name, value in member.sae.state_dict().items()}
    events, remark = list(member.events), member.remark
    assert levels(member, 1, 2) == [1, 2]
    after = member.sae.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    assert (member.events, member.remark) == (events, remark)
