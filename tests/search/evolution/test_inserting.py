from archsearch.search.evolution.inserting import insertions
from tests.search.evolution.history import CHAIN, SUM, changes, legal, material_from, one, parent_from, reads, tried

DRAWS = 6
"""Which second signal a block reads is drawn, so that one draw does not show every way."""


def test_a_level_is_put_between_gate_and_decoder():
    found = one(changes(insertions, parent_from(CHAIN)), "insert matryoshka: gate.code -> decoder.code")
    assert reads(found, "level_1") == {"code": ["gate.code"]}
    assert reads(found, "decoder")["code"] == ["level_1.code"]


def test_an_encoder_is_put_beside_another_and_added_to_it():
    found = legal(tried(insertions, parent_from(CHAIN), draws=DRAWS), "insert add and mlp_encoder: encoder.pre -> gate.pre")
    document = found[0].document
    assert reads(document, "encoder_1") == {"x": ["center.x"]}
    assert reads(document, "add_1") == {"terms": ["encoder.pre", "encoder_1.pre"]}
    assert reads(document, "gate") == {"pre": ["add_1.sum"]}


def test_a_step_of_refinement_brings_a_first_gate():
    refined = legal(tried(insertions, parent_from(CHAIN), draws=DRAWS), "insert refine and")
    assert refined
    for _, document in refined:
        first = reads(document, "refine_1")["code"][0].split(".")[0]
        assert ["encoder.pre"] in reads(document, first).values() and reads(document, "gate")["pre"] == ["refine_1.pre"]


def test_a_second_signal_may_be_one_that_is_there_but_none_that_is_made_later():
    graph = {label: SUM[label] for label in ("center", "encoder", "deep")}
    graph |= {"gate": {"kind": "gated", "from": {"gate": "encoder", "magnitude": "deep"}}, "decoder": "linear_decoder"}
    parent = parent_from(graph, losses={"sparsity": {"kind": "l1", "of": "gate.gate_code"}})
    found = tried(insertions, parent, draws=DRAWS)
    added = [reads(document, "add_1")["terms"] for _, document in legal(found, "insert add: encoder.pre -> gate.gate")]
    assert added == [["encoder.pre", "deep.pre"]]
    assert [reads(document, "add_1")["terms"] for _, document in legal(found, "insert add: center.x -> encoder.x")] == [["center.x", "x"]]


def test_what_an_output_is_made_of_is_what_the_loss_rebuilds():
    found = one(changes(insertions, parent_from(CHAIN)), "insert pre_bias: decoder.reconstruction -> the output x")
    assert found["outputs"] == {"x": "pre_bias_1.x"}
    assert reads(found, "losses/reconstruction") == {"reconstruction": ["pre_bias_1.x"], "target": ["x"]}


def test_a_map_that_starts_as_zero_is_put_beside_a_signal_and_never_in_its_way():
    found = tried(insertions, parent_from(CHAIN), draws=DRAWS)
    assert legal(found, "insert subtract and linear_map: center.x -> encoder.x")
    alone = [change for change in found if change.how.startswith("insert linear_map")]
    assert alone and not legal(alone)


def test_no_block_is_put_next_to_its_own_kind_nor_before_what_is_to_be_rebuilt():
    parent = parent_from({**CHAIN, "gate": "gated"}, losses={"sparsity": {"kind": "l1", "of": "gate.gate_code"}})
    how = {change.how for change in tried(insertions, parent, draws=DRAWS)}
    assert "insert pre_bias: center.x -> encoder.x" not in how and "insert pre_bias: x -> center.x" not in how
    assert not any("gate.target" in each for each in how)


def test_terms_of_the_loss_that_are_shown_are_added():
    parent, shown = parent_from(CHAIN), parent_from(CHAIN, losses={"dead": {"kind": "aux_k", "k_aux": 5}})
    found = one(changes(insertions, parent, material=material_from(parent, shown)), "insert losses.term_1 (aux_k)")
    assert found["losses"]["term_1"]["k_aux"] == 5
    assert reads(found, "losses/term_1")["pre"] == ["encoder.pre"]
