from archsearch.blocks.catalogue import catalogue
from archsearch.search.evolution.replacing import replacements
from tests.search.evolution.history import CHAIN, changes, kinds, material_from, one, parent_from, reads


def test_a_block_is_replaced_by_every_kind_of_its_slot_and_an_op_by_none():
    how = [change.how for change in changes(replacements, parent_from(CHAIN))]
    encoders = {each.split(" -> ")[1] for each in how if each.startswith("swap encoder:")}
    assert encoders == {*catalogue().slots["encoder"]} - {"linear_encoder", "kronecker_encoder"}  # that one's heads do not divide 48
    assert "swap decoder: linear_decoder -> archetypal_decoder" in how
    assert not any(each.startswith("swap center") for each in how)


def test_a_replaced_block_keeps_its_wires_and_finds_its_others():
    found = one(changes(replacements, parent_from(CHAIN)), "swap encoder: linear_encoder -> tied_encoder")
    assert reads(found, "encoder") == {"x": ["center.x"], "weight": ["decoder.dictionary"]}
    assert reads(found, "gate") == {"pre": ["encoder.pre"]}


def test_whoever_read_what_the_new_block_does_not_give_reads_its_default():
    graph = {**CHAIN, "first": "topk", "refine": {"kind": "refine", "from": {"pre": "encoder", "weight": "encoder.weight"}}}
    order = ("center", "encoder", "first", "refine", "gate", "decoder")
    parent = parent_from({label: graph[label] for label in order})
    assert reads(parent.document, "refine")["weight"] == ["encoder.weight"]
    found = one(changes(replacements, parent), "swap encoder: linear_encoder -> mlp_encoder")
    assert reads(found, "refine")["weight"] == ["decoder.dictionary"]


def test_a_gate_comes_with_the_penalty_it_is_shown_with():
    shown = parent_from(
        {**CHAIN, "gate": "gated"}, losses={"sparsity": {"kind": "l1", "of": "gate.gate_code", "weight": 3.0, "norm": "dictionary"}}
    )
    parent = parent_from(CHAIN)
    found = one(changes(replacements, parent, material=material_from(parent, shown)), "swap gate: topk -> gated with l1")
    assert reads(found, "losses/penalty_1") == {"code": ["gate.gate_code"], "dictionary": ["decoder.dictionary"]}
    assert found["losses"]["penalty_1"]["weight"] == 3.0


def test_a_gate_leaves_with_its_penalty_and_with_no_other_term():
    parent = parent_from({**CHAIN, "gate": "relu"}, losses={"sparsity": "l1", "dead": "aux_k"})
    found = one(changes(replacements, parent), "swap gate: relu -> topk")
    assert sorted(entry["kind"] for entry in found["losses"].values()) == ["aux_k", "squared_error"]


def test_a_gate_nobody_shows_comes_with_any_penalty_that_fits_what_it_gives():
    parent = parent_from(CHAIN)
    shown = parent_from({**CHAIN, "gate": "jumprelu"}, losses={"sparsity": "l0"})
    found = changes(replacements, parent, material=material_from(parent, shown))
    assert reads(one(found, "swap gate: topk -> gated_jumprelu with l0"), "losses/penalty_1") == {"active": ["gate.active"]}
    assert not any(change.how.startswith("swap gate: topk -> relu") for change in found)  # it gives nothing that an l0 counts


def test_a_penalty_is_replaced_by_a_penalty():
    found = changes(replacements, parent_from({**CHAIN, "gate": "relu"}, losses={"sparsity": "l1"}))
    others = {change.how.split(" -> ")[1] for change in found if change.how.startswith("swap losses.sparsity")}
    assert others and all(catalogue()[kind].sparsity for kind in others)
    assert kinds(one(found, "swap losses.reconstruction: squared_error -> tilted_error")).count("l1") == 1


def test_a_block_in_a_nested_graph_is_replaced_there():
    inner = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 4}, "decoder": "linear_decoder"}
    graph = {
        "coarse": {"kind": "sae", "width": 16, "graph": inner},
        "rest": {"kind": "subtract", "from": ["x", "coarse"]},
        **{label: CHAIN[label] for label in ("encoder", "gate", "decoder")},
        "output": {"kind": "add", "from": ["coarse", "decoder"]},
    }
    found = one(changes(replacements, parent_from(graph)), "swap coarse.encoder: linear_encoder -> mlp_encoder")
    assert found["graph"]["coarse"]["graph"]["encoder"]["kind"] == "mlp_encoder"
    assert found["graph"]["encoder"]["kind"] == "linear_encoder"
