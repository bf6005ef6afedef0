from archsearch.search.evolution.crossing import crossings
from tests.search.evolution.history import CHAIN, SUM, changes, kinds, one, parent_from, reads

PLAIN = parent_from(CHAIN, 3, losses={"dead": "aux_k"})
RICH = parent_from(
    {**SUM, "gate": "gated"}, 7, losses={"sparsity": {"kind": "l1", "of": "gate.gate_code", "weight": 2.5}}, revival="anthropic_resampling"
)


def test_a_block_is_taken_with_all_it_is_made_from_and_what_both_have_is_shared():
    found = one(changes(crossings, PLAIN, RICH), "take sum (add) of ask 7 for encoder.pre")
    assert {*found["graph"]} == {"center", "encoder", "deep_1", "sum_1", "gate", "decoder"}
    assert reads(found, "sum_1") == {"terms": ["encoder.pre", "deep_1.pre"]}
    assert reads(found, "deep_1") == {"x": ["center.x"]}
    assert reads(found, "gate") == {"pre": ["sum_1.sum"]}
    assert reads(found, "losses/dead")["pre"] == ["sum_1.sum"]


def test_a_gate_is_taken_with_its_penalty_and_borrows_of_the_decoder_it_is_given_to():
    found = one(changes(crossings, PLAIN, RICH), "take gate (gated) of ask 7 for gate.code")
    (penalty,) = [label for label, entry in found["losses"].items() if entry["kind"] == "l1"]
    assert reads(found, f"losses/{penalty}") == {"code": ["gate_1.gate_code"]} and found["losses"][penalty]["weight"] == 2.5
    assert reads(found, "gate_1") == {
        "gate": ["sum_1.sum"],
        "target": ["x"],
        "dictionary": ["decoder.dictionary"],
        "bias": ["decoder.bias"],
    }
    assert "topk" not in kinds(found)


def test_a_gate_that_leaves_takes_its_penalty_along():
    found = one(changes(crossings, RICH, PLAIN), "take gate (topk) of ask 3 for gate.code")
    assert sorted(kinds(found)) == ["linear_decoder", "linear_encoder", "pre_bias", "squared_error", "topk"]


def test_a_decoder_that_is_replaced_is_not_kept_for_its_bias():
    found = one(changes(crossings, RICH, PLAIN), "take decoder (linear_decoder) of ask 3 for decoder.reconstruction")
    assert kinds(found).count("linear_decoder") == 1
    assert reads(found, "center")["bias"] == ["decoder_1.bias"] and found["outputs"] == {"x": "decoder_1.reconstruction"}


def test_settings_of_a_block_of_the_same_kind_are_taken():
    wide = parent_from({**SUM, "deep": {"kind": "mlp_encoder", "hidden": 96, "from": "center"}}, 5)
    found = one(changes(crossings, RICH, wide), "take the settings of deep (mlp_encoder) of ask 5 for deep")
    assert found["graph"]["deep"]["hidden"] == 96 and reads(found, "deep") == {"x": ["center.x"]}


def test_what_stands_beside_the_graph_is_taken():
    assert one(changes(crossings, PLAIN, RICH), "take revival (anthropic_resampling) of ask 7")["revival"]["kind"] == "anthropic_resampling"
    found = one(changes(crossings, RICH, PLAIN), "take losses.dead (aux_k) of ask 3")
    assert reads(found, "losses/term_1")["pre"] == ["sum.sum"]


def test_parameters_that_come_along_are_still_shared():
    refined = {
        **{label: CHAIN[label] for label in ("center", "encoder")},
        "first": "topk",
        "refine": {"kind": "refine", "from": {"pre": "encoder", "weight": "encoder.weight"}},
        **{label: CHAIN[label] for label in ("gate", "decoder")},
    }
    mate = parent_from({**refined, "encoder": {"kind": "linear_encoder", "bias": False}}, 9)
    found = one(changes(crossings, PLAIN, mate), "take refine (refine) of ask 9 for encoder.pre")
    assert reads(found, "refine_1")["weight"] == ["encoder_1.weight"] and reads(found, "refine_1")["dictionary"] == ["decoder.dictionary"]


def test_nothing_is_taken_of_nobody():
    assert changes(crossings, PLAIN) == []
