"""What benchmarks rest on: their spaces are legal, contenders of the search share their baselines, and hypervolume is counted as told."""

from __future__ import annotations

import math

import pytest

from archsearch.assembler.build import assemble
from archsearch.assembler.check import check_space
from archsearch.assembler.parse import parse
from archsearch.search.jobs import Draw
from archsearch.search.study import baseline_trees
from archsearch.spec.space import TARGET, Space
from archsearch.spec.template import Template
from benchmarks import overhead, search_space
from benchmarks.search_report import _range, _sooner, at, reached, steps

SPACES = {
    "holes": search_space.documents(0),
    "levels": search_space.documents(0, search_space.LEVELS),
}


def _arch(document: dict) -> str:
    return assemble(parse(document), model=128, device="meta").receipt.arch


@pytest.mark.parametrize("form", SPACES)
def test_the_space_of_the_search_is_legal(form: str) -> None:
    space = search_space.space_of(SPACES[form])
    check_space(space, model=128, recipes=baseline_trees(space))
    swept = [name for name in space.parameters() if name.endswith((".weight", ".k", TARGET))]
    assert swept == ([TARGET] if form == "levels" else swept) and len(swept) == (1 if form == "levels" else 6)


def test_a_seed_reaches_sampler_weights_and_rows() -> None:
    data = search_space.documents(3)
    found = [data["study"]["seed"]] + [sae["training"][name] for sae in (data["sae"], *data["baselines"].values()) for name in SEEDS]
    assert found == [3] * 7


SEEDS = ("seed", "data_seed")


def test_the_loop_asks_the_baselines_of_a_study_first() -> None:
    space = search_space.space_of(SPACES["holes"])
    asked = [space.refill(params).document for params in search_space.baselines(space)]
    trees = [Template.read(tree) for tree in baseline_trees(space).values() for _ in range(space.study.levels)]
    assert len(asked) == len(trees) == 4
    for document, tree in zip(asked, trees, strict=True):
        middle = tree.fill(Draw(0, 0, {})).document
        assert document["training"] == middle["training"]
        assert _arch(document | _moved(document, middle)) == _arch(middle)
    levels = [document["graph"]["gate"]["k"] for document in asked[2:]]
    assert levels == sorted(set(levels)) and levels[-1] / levels[0] > 3


def _moved(document: dict, middle: dict) -> dict:
    """Returns what a sweep over sparsity varies as the middle of the range has it."""
    gate, losses = middle["graph"]["gate"], middle.get("losses", {})
    return {"graph": {**document["graph"], "gate": gate}} | ({"losses": losses} if losses else {})


def test_hypervolume_grows_by_what_lies_in_the_band() -> None:
    """Three octaves and a third of the band lie above L0 8, two above L0 20: 0.5 of FVU, then 0.2 more."""
    saes = [
        {"seconds": 3.0, "l0": 20.0, "fvu": 0.3},
        {"seconds": 1.0, "l0": 8.0, "fvu": 0.5},
        {"seconds": 2.0, "l0": 3.9, "fvu": 0.1},
        {"seconds": 4.0, "l0": 30.0, "fvu": 0.4},
        {"seconds": 5.0, "l0": 30.0, "fvu": math.nan},
    ]
    first, second = 0.5 * math.log2(10), 0.5 * math.log2(10) + 0.2 * 2
    curve = steps(saes)
    assert [moment for moment, _ in curve] == [1.0, 3.0]
    assert [volume for _, volume in curve] == pytest.approx([first, second])
    assert at(curve, 0.5) == 0 and at(curve, 2.9) == pytest.approx(first) and at(curve, 99) == pytest.approx(second)
    assert reached(curve, first + 0.01) == 3.0 and reached(curve, second + 0.01) is None


def test_what_is_cut_after_training_is_counted_apart() -> None:
    saes = [{"seconds": 1.0, "l0": 20.0, "fvu": 0.3, "cut": False}, {"seconds": 1.0, "l0": 10.0, "fvu": 0.5, "cut": True}]
    assert steps(saes, cut=False) == steps(saes[:1]) and steps(saes)[-1][1] == pytest.approx(0.7 * 2 + 0.5)


def test_a_contender_is_sooner_by_the_share_of_the_time_it_takes() -> None:
    theirs = {"contender": "saelens", "seed": 0, "curve": [(10.0, 1.0), (50.0, 2.0)]}
    ours = {"contender": "study", "seed": 0, "curve": [(12.0, 1.5), (30.0, 1.9)]}
    shares = {seconds: _sooner([theirs, ours], "study", seconds)["shares"] for seconds in (5.0, 20.0, 60.0)}
    assert shares == {5.0: {}, 20.0: {0: pytest.approx(0.6)}, 60.0: {0: None}}
    assert _range([0.1, 0.3]) == "20% (10% to 30%)" and _range([0.1, None]) == "1 of 2 seeds"


def test_the_space_of_overhead_has_twenty_holes() -> None:
    space = Space.load(overhead.FILE)
    check_space(space, model=8)
    assert len(space.parameters()) == 20
