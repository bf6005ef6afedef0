"""What finished SAEs are cut by: what the space says, or what the slot's contract does."""

from __future__ import annotations

import pytest

from archsearch.assembler.check import check_space
from archsearch.assembler.points import calibrations
from archsearch.blocks.calibrations._base import Calibration
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput
from archsearch.spec.space import Space, StudySpec
from archsearch.spec.yaml import loads

SPACE = """
name: pointed
sae:
  width: 128
  graph: {encoder: linear_encoder, gate: {kind: topk, k: 4}, decoder: linear_decoder}
  training: {optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}}}
study:
  points:
    l0: [8]
    cut: CUT
"""


def test_the_default_cuts_to_any_l0() -> None:
    block = catalogue()[Calibration.cutting["kind"]]
    assert calibrations(StudySpec.model_validate({"points": {"l0": [8, 16.5]}})) == {
        l0: {**Calibration.cutting, block.l0_setting: l0} for l0 in (8, 16.5)
    }


@pytest.mark.parametrize(
    ("cut", "path", "what"),
    [
        (
            "remove_lowst",
            "study.points.cut.kind",
            "asked for an L0; got kind 'remove_lowst'; did you mean",
        ),
        ("topk", "study.points.cut.kind", "got kind 'topk'"),
        ("{per: all}", "study.points.cut.kind", "got kind None"),
        ("{kind: remove_lowest, l0: 3}", "study.points.cut.l0", "`points` says which L0s to cut to"),
        ("{kind: remove_lowest, share: 0.5}", "study.points.cut", "give either l0 or share"),
        ("{kind: remove_lowest, per: row}", "study.points.cut.per", "row"),
    ],
)
def test_what_cannot_cut_is_refused_by_the_check(cut: str, path: str, what: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_space(Space.read(loads(SPACE.replace("CUT", cut))), model=16, fills=1)
    (problem,) = refused.value.problems
    assert problem.path == path and what in problem.what and problem.line == 10


@pytest.mark.parametrize("cut", ["remove_lowest", "{kind: remove_lowest, per: latent}", "null"])
def test_what_can_cut_passes(cut: str) -> None:
    assert check_space(Space.read(loads(SPACE.replace("CUT", cut))), model=16, fills=1).assembled
