"""Points of a study: which L0s finished SAEs may be cut to."""

from __future__ import annotations

import pytest

from archsearch.errors import InvalidInput
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads

SPACE = """
name: pointed
sae:
  width: 32
  graph: {encoder: linear_encoder, gate: {kind: topk, k: 4}, decoder: linear_decoder}
  training: {optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}}}
study: STUDY
"""


def read(study: str) -> Space:
    return Space.read(loads(SPACE.replace("STUDY", study)))


@pytest.mark.parametrize(
    ("study", "path", "what"),
    [
        ("{points: {l0: [0]}}", "study.points.l0.0", "must be above 0"),
        ("{points: {l0: [8, -2]}}", "study.points.l0.1", "must be above 0"),
        ("{points: {l0: []}}", "study.points.l0", "must hold at least one"),
        ("{points: {l0: [many]}}", "study.points.l0.0", "must be a"),
        ("{points: {l0: [8, 16, 8.0]}}", "study.points.l0", "may name each L0 once"),
        ("{points: {}}", "study.points", "give either l0 or per_octave"),
        ("{points: {l0: [8], per_octave: 3}}", "study.points", "give either l0 or per_octave"),
        ("{points: {per_octave: 0}}", "study.points.per_octave", "must be at least 1"),
        ("{sweep: {l0: [4.1, 2]}, points: {per_octave: 3}}", "study.points", "no L0 to cut to in the band, 4 to 80, below"),
        ("{points: {l0: [8], cuts: remove_lowest}}", "study.points.cuts", "did you mean 'cut'"),
        ("{points: {l0: [8, 2]}}", "study.points.l0.1", "must lie in the band, 4 to 80; got 2"),
        ("{points: {l0: [100], band: [4, 64]}}", "study.points.band", "unknown key"),
        ("{band: [4, 32], points: {l0: [33]}}", "study.points.l0.0", "must lie in the band, 4 to 32; got 33"),
        ("{points: {l0: [8, 64]}}", "study.points.l0.1", "must lie below 64, the highest L0 that SAEs are trained at; got 64"),
        ("{sweep: {l0: [8, 16]}, points: {l0: [20]}}", "study.points.l0.0", "must lie below 16"),
    ],
)
def test_what_can_be_of_no_use_is_refused_where_it_stands(study: str, path: str, what: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(study)
    (problem,) = refused.value.problems
    assert problem.path == path and what in problem.what and problem.line == 7


def test_every_wrong_l0_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        read("{points: {l0: [2, 8, 90]}}")
    assert [problem.path for problem in refused.value.problems] == ["study.points.l0.0", "study.points.l0.2"]


def test_a_sweep_over_a_hole_sets_no_highest_l0() -> None:
    assert read("{sweep: 2, points: {l0: [64]}}").study.points


def test_points_are_part_of_what_makes_studies_comparable_and_none_are_not() -> None:
    plain, pointed = read("{seed: 0}"), read("{points: {l0: [8]}}")
    assert plain.fingerprint() == read("{seed: 0, points: null}").fingerprint() != pointed.fingerprint()
    assert any("study.points" in line for line in plain.difference(pointed))


def test_so_many_an_octave_begin_inside_the_band_and_end_below_what_is_trained() -> None:
    assert read("{sweep: 2, band: [4, 20], points: {per_octave: 2}}").study.cut_to == (4.2, 5.94, 8.4, 11.9, 16.8)
    assert read("{band: [4, 80], sweep: {l0: [8, 16]}, points: {per_octave: 1}}").study.cut_to == (4.2, 8.4)
    assert read("{points: {l0: [8, 16]}}").study.cut_to == (8, 16) and read("{seed: 0}").study.cut_to == ()


def test_an_sae_is_cut_to_no_more_of_them_than_lie_within_two_octaves() -> None:
    study = read("{sweep: 2, points: {per_octave: 5}}").study
    assert study.points and len(study.cut_to) == 22 and study.points.each(study.band) == 10
    assert study.points.reach == 4 and read("{points: {l0: [8]}}").study.points.reach == float("inf")
