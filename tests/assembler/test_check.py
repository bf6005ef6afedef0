"""A space is checked before anything is trained: what is wrong in any branch is said once, at the line of that branch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archsearch.assembler.check import check_space
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))

SMALL = """\
name: small
sae:
  width: 32
  graph: {center: pre_bias, encoder: linear_encoder, gate: relu, decoder: linear_decoder}
  training: {tokens: 2000, batch: 10, optimizer: {kind: adam, lr: {float: [0.001, 0.1], log: true}}}
variants:
  gate:
    oneof:
      relu:
        losses.sparsity: {kind: l1, weight: {float: [1, 30], log: true}}
      topk:
        graph.gate: {kind: topk, k: {int: [4, 16], log: true}}
study: {sweep: 4, band: [4, 16]}
"""


def check(text: str, **options: Any) -> Any:
    return check_space(Space.read(loads(text, file="small.yaml")), model=16, fills=8, **options)


def refused(text: str, **options: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        check(text, **options)
    return str(caught.value).splitlines()


def changed(old: str, new: str, text: str = SMALL) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_space_assembles_at_its_corners_and_at_random(path: Path):
    space = Space.load(path)
    found = check_space(space, model=64)
    assert found.assembled >= len(space.corners()) and None not in found.swept


def test_a_good_space_says_what_it_sweeps():
    found = check(SMALL)
    assert found.assembled == 6 + 8
    assert set(found.swept) == {"gate@relu.losses.sparsity.weight", "gate@topk.graph.gate.k"}


def test_a_value_a_block_refuses_points_into_the_branch():
    assert refused(changed("k: {int: [4, 16], log: true}", "k: {int: [0, 16]}")) == [
        "small.yaml:12 -> variants.gate.oneof.topk.graph.gate.k: must be at least 1; got 0"
    ]


def test_an_unknown_kind_or_key_names_the_nearest():
    found = refused(changed("{kind: topk, k:", "{kind: topkk, k:"))
    assert len(found) == 1 and found[0].startswith("small.yaml:12 -> variants.gate.oneof.topk.graph.gate: unknown kind 'topkk'")
    assert "did you mean 'topk'?" in found[0]
    found = refused(changed("  training:", "  revivall: null\n  training:"))
    assert len(found) == 1 and found[0].startswith("small.yaml:5 -> sae.revivall: unknown key 'revivall'; did you mean 'revival'?")


def test_a_path_that_leads_nowhere_points_at_the_patch():
    found = refused(changed("graph.gate: {kind", "graf.gate: {kind"))
    assert len(found) == 1 and found[0].startswith("small.yaml:12 -> variants.gate.oneof.topk.graf.gate: unknown key 'graf'")


def test_what_does_not_fit_together_points_at_the_wire():
    found = refused(changed("{kind: l1, weight", "{kind: l1, of: gate.gate_code, weight"))
    assert len(found) == 1 and "small.yaml:10 -> variants.gate.oneof.relu.losses.sparsity.of: no signal 'gate.gate_code'" in found[0]


def test_several_problems_come_at_once_in_the_order_of_lines():
    text = changed(
        "k: {int: [4, 16], log: true}",
        "k: {int: [0, 16]}",
        changed("weight: {float: [1, 30], log: true}", "weight: {float: [-1, 1]}"),
    )
    assert [line.split(" -> ")[0] for line in refused(text)] == ["small.yaml:10", "small.yaml:12"]


def test_a_problem_of_one_combination_says_which():
    """Tying the dictionary to the encoder needs a free norm: wrong with one branch of `norm` only, and the line is that of the SAE."""
    text = changed("decoder: linear_decoder}", "decoder: {kind: linear_decoder, norm: {choice: [unit, free]}}}")
    text = changed(
        "study:",
        "  tie:\n    oneof:\n      tied: {graph.decoder.from: {code: gate, dictionary: encoder.weight}}\n      own: {}\nstudy:",
        text,
    )
    found = refused(text)
    assert len(found) == 1
    assert "norm: free" in found[0] and "(when tie=tied, graph.decoder.norm=unit)" in found[0]


def test_repeated_blocks_that_collide_are_refused():
    text = changed("gate: relu,", "deep: {repeat: pre_bias, min: 1, max: 2}, deep_1: pre_bias, gate: relu,")
    assert "small.yaml:4 -> sae.graph.deep: the copies of 'deep' need the label 'deep_1'" in refused(text)[0]


def test_two_sparsity_settings_need_a_name():
    text = changed("graph.gate: {kind: topk", "losses.sparsity: {kind: l1, weight: {float: [1, 2]}}\n        graph.gate: {kind: topk")
    found = refused(text)
    assert len(found) == 1 and found[0].startswith("small.yaml:14 -> study.sparsity: two sparsity settings are open together")


def test_a_branch_that_cannot_reach_the_band_is_refused(monkeypatch: pytest.MonkeyPatch):
    reach = classmethod(lambda cls, spec: (spec.k, spec.k))
    monkeypatch.setattr(catalogue()["topk"], "l0_range", reach, raising=False)
    assert check(SMALL).assembled
    found = refused(changed("band: [4, 16]", "band: [17, 32]"))
    assert len(found) == 1 and found[0].startswith(
        "small.yaml:12 -> variants.gate.oneof.topk.graph.gate.k: effective L0 would lie between 4 and 16"
    )
    assert "outside the band [17.0, 32.0]" in found[0]


def test_baselines_are_checked_where_they_are_written():
    tree = "{width: 32, graph: {encoder: linear_encoder, gate: {kind: topk, k: {int: [0, 4]}}, decoder: linear_decoder}}"
    found = refused(changed("study:", f"baselines:\n  mine: {tree}\nstudy:"))
    assert found == ["small.yaml:14 -> baselines.mine.graph.gate.k: must be at least 1; got 0"]


def test_recipes_are_checked_by_name():
    recipe = {"width": 32, "graph": {"encoder": "linear_encoder", "gate": "tokp", "decoder": "linear_decoder"}}
    found = refused(changed("study:", "baselines: [bad, topkk]\nstudy:"), recipes={"bad": recipe, "topk": {}})
    assert found[0].startswith("small.yaml:13 -> baselines.0.graph.gate: unknown kind 'tokp'")
    assert found[1] == "small.yaml:13 -> baselines.1: no recipe 'topkk'; did you mean 'topk'? (valid: bad, topk)"


def test_all_recipes_are_named_where_one_is_misspelt():
    found = refused(changed("study:", "baselines: [topkk]\nstudy:"), recipes={}, names=["gated", "topk"])
    assert found == ["small.yaml:13 -> baselines.0: no recipe 'topkk'; did you mean 'topk'? (valid: gated, topk)"]


def test_more_latents_than_there_are():
    assert check(SMALL).notes == ()
    found = refused(changed("k: {int: [4, 16], log: true}", "k: {int: [40, 50]}"))
    assert found[-1].startswith("small.yaml:12 -> variants.gate.oneof.topk.graph.gate.k: must be at most the width (32)")
    notes = check(changed("k: {int: [4, 16], log: true}", "k: {int: [4, 50]}")).notes
    assert notes == ("variants.gate.oneof.topk.graph.gate.k reaches 50, above the width (32): more than all latents cannot be kept",)


def test_a_sweep_that_cannot_be_had_is_noted():
    notes = check(changed("k: {int: [4, 16], log: true}", "k: {int: [4, 5]}")).notes
    assert notes == ("sweep: 4 asks for more levels than gate@topk.graph.gate.k has values: a structure gets 2",)
    notes = check(changed("k: {int: [4, 16], log: true}", "k: 8")).notes
    assert len(notes) == 1 and notes[0].startswith("no sparsity setting is open where gate=topk: such a structure is trained once")
    assert check(changed("study: {sweep: 4, ", "study: {sweep: 1, ", changed("k: {int: [4, 16], log: true}", "k: 8"))).notes == ()


STEERED = """\
name: steered
sae:
  width: 32
  controller: {kind: l0_controller, l0: 99}
  graph: {encoder: linear_encoder, gate: relu, decoder: linear_decoder}
  losses: {sparsity: l1}
  training: {tokens: 2000, batch: 10, optimizer: {kind: adam, lr: {float: [0.001, 0.1], log: true}}}
study: {sweep: {l0: [4, 8]}, band: [4, 16]}
"""


def test_a_sweep_takes_the_place_of_an_l0_that_a_space_carries_and_a_second_one_by_its_user_is_refused():
    assert check(STEERED).assembled > 4
    text = changed("study: {sweep: {l0: [4, 8]}, ", "study: {", changed("  width: 32", "  width: 32\n  target_l0: 8", STEERED))
    (said,) = refused(text)
    assert said.startswith("small.yaml:5 -> sae.controller.l0: two L0s are asked for, controller.l0 99 and target_l0 8")


def test_the_rank_of_a_path_past_the_codes_counts_against_the_band():
    skip = "decoder: linear_decoder, skip: {kind: linear_map, bottleneck: 6, from: x}, output: {kind: add, from: [decoder, skip]}}"
    text = changed("decoder: linear_decoder}", skip, changed("k: {int: [4, 16], log: true}", "k: {int: [2, 3]}"))
    assert check(changed("band: [4, 16]", "band: [8, 9]", text)).assembled
    said = refused(changed("band: [4, 16]", "band: [2, 7]", text))
    assert "effective L0 would lie between 8 and 9, outside the band [2.0, 7.0]" in said[0]


@pytest.mark.parametrize(
    "tokens, ladder, said",
    [
        (6_400, "{rungs: [0.5]}", "after 50 of 100 steps"),
        (128_000, "{rungs: [0.05, 0.5]}", "after 100 of 2000 steps"),
        (128_000, "{rungs: [0.25]}", None),
    ],
)
def test_a_ladder_too_early_to_tell_is_noted(tokens, ladder, said):
    notes = check_space(laddered(tokens, ladder), model=16).notes
    assert [note for note in notes if note.startswith("ladder")] == ([] if said is None else [note for note in notes if said in note])


def test_a_rung_before_the_first_step_is_refused():
    with pytest.raises(InvalidInput, match="before the first step"):
        check_space(laddered(640, "{rungs: [0.01]}"), model=16)


def test_a_ladder_that_never_judges_is_noted():
    gate = "{kind: topk, k_start: 16, anneal_frac: 1.0}"
    assert any("none is ever judged" in note for note in check_space(laddered(128_000, "{rungs: [0.5]}", gate), model=16).notes)


def laddered(tokens, ladder, gate="topk"):
    text = f"""
    name: ladder
    sae:
      width: 32
      graph: {{encoder: linear_encoder, gate: {gate}, decoder: linear_decoder}}
      training: {{tokens: {tokens}, batch: 64, optimizer: {{kind: adam, lr: {{float: [0.001, 0.01]}}}}}}
    study: {{trials: 4, sweep: {{l0: [4, 8]}}, band: [2, 16], ladder: {ladder}}}
    """
    return Space.read(loads(text, "ladder.yaml"))
