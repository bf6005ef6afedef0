"""From holes to levels."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.blocks.catalogue import catalogue
from archsearch.recipes import names, recipe
from archsearch.search.jobs import Draw, baseline_drafts, fitted, levels_of, opened
from archsearch.spec.holes import ChoiceHole, FloatHole, IntHole
from archsearch.spec.space import StudySpec, sparsity_holes
from archsearch.spec.template import Template


@given(st.floats(1.0, 30.0), st.integers(1, 8))
def test_levels_stay_inside_and_cover_every_stratum(value: float, count: int) -> None:
    found = levels_of(FloatHole(1.0, 30.0, True), value, count)
    assert found[0] == value
    assert all(1.0 <= level <= 30.0 for level in found)
    places = sorted((math.log(level) / math.log(30.0) * count) % count for level in found)
    assert len(found) == count
    gaps = [b - a for a, b in pairwise(places)]
    assert all(gap == pytest.approx(1.0, abs=0.05) for gap in gaps)


def test_whole_numbers_that_fall_together_are_told_once() -> None:
    assert sorted(levels_of(IntHole(1, 3, True), 2, 8)) == [1, 2, 3]


def test_choices_are_swept_by_their_place_in_the_list() -> None:
    assert levels_of(ChoiceHole((1, 10, 100, 1000)), 100, 2) == [100, 1]
    assert levels_of(ChoiceHole((1, 10, 100, 1000)), 10, 4) == [10, 100, 1000, 1]
    assert levels_of(ChoiceHole((1, 10)), 10, 4) == [10, 1]
    assert levels_of(ChoiceHole(("few", "many")), "many", 2) == ["many"]


@pytest.mark.parametrize("name", names())
def test_every_recipe_can_be_swept_and_tuned(name: str) -> None:
    small = {"width": 64, "training": {"tokens": 640000, "batch": 64}}
    tree = opened(fitted(recipe(name), small), catalogue(), StudySpec(sweep=4, band=(4, 64)))
    template = Template.read(tree)
    holes = [hole for hole in template.parameters() if not hole.endswith(".lr")]
    assert len(holes) == 1
    drafts = baseline_drafts(name, template, holes[0], ask=0, index=0, sweep=4, seed=0)
    assert len(drafts) == 4
    assert all(draft.document["width"] == 64 and draft.document["training"]["tokens"] == 640000 for draft in drafts)
    assert sparsity_holes(template.fill(Draw(0, 0, {})), catalogue().sparsity) == holes
