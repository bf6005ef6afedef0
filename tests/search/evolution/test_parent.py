from archsearch.blocks.signals import Signal
from archsearch.search.evolution.documents import free_label, with_entry
from tests.search.evolution.history import CHAIN, SUM, parent_from, reads

INNER = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 4}, "decoder": "linear_decoder"}

STAGES = {
    "coarse": {"kind": "sae", "width": 16, "graph": INNER},
    "rest": {"kind": "subtract", "from": ["x", "coarse"]},
    "fine": {"kind": "sae", "width": 32, "graph": INNER},
    "output": {"kind": "add", "from": ["coarse", "fine"]},
}


def test_a_document_is_written_out_and_stays_what_it_is():
    for graph in (CHAIN, SUM, STAGES):
        document = parent_from(graph).document
        assert parent_from(**document).document == document


def test_signals_are_written_by_block_and_output_those_of_nested_graphs_by_their_path():
    parent = parent_from(STAGES)
    assert reads(parent.document, "rest") == {"terms": ["x", "coarse.reconstruction"]}
    assert parent.infos["coarse.gate.code"].size == 16 and parent.infos["fine.encoder.pre"].size == 32
    assert parent.infos["fine.x"].type is Signal.ACTIVATION and parent.infos["coarse.reconstruction"].type is Signal.RECONSTRUCTION


def test_a_block_sees_the_signals_of_its_own_graph():
    parent = parent_from(STAGES)
    assert {signal for signal in parent.visible("coarse.gate") if parent.flows(signal)} == {
        "coarse.x",
        "coarse.encoder.pre",
        "coarse.gate.code",
        "coarse.decoder.reconstruction",
    }
    outside = {signal for signal in parent.visible("rest") if parent.flows(signal)}
    assert outside == {"x", "coarse.reconstruction", "rest.difference", "fine.reconstruction", "output.sum"}


def test_what_must_run_before_a_signal_is_known():
    parent = parent_from(STAGES)
    first = {"coarse.encoder", "coarse.gate", "coarse.decoder"}
    assert parent.before("coarse.reconstruction") == first
    assert parent.before("fine.encoder.pre") == {*first, "rest", "fine.encoder"}
    assert parent_from(CHAIN).before("decoder.bias") == set()  # a parameter is there from the start


def test_an_input_may_bear_the_dotted_name_of_a_hook_point():
    graph = {"encoder": {"kind": "linear_encoder", "from": "blocks.0.hook_out"}, "gate": "topk", "decoder": "linear_decoder"}
    parent = parent_from(graph, inputs=["blocks.0.hook_out", "blocks.1.hook_out"], outputs={"blocks.1.hook_out": "decoder"})
    assert parent.before("decoder.reconstruction") == {"encoder", "gate", "decoder"}
    assert "blocks.0.hook_out" in parent.visible("encoder")


def test_a_controller_that_the_l0_called_for_is_no_part_of_a_document():
    losses = {"sparsity": "l1"}
    assert parent_from({**CHAIN, "gate": "relu"}, losses=losses).document["controller"] is None
    kept = parent_from({**CHAIN, "gate": "relu"}, losses=losses, controller={"kind": "l0_controller", "integral": 5.0}).document
    assert kept["controller"]["integral"] == 5.0


def test_a_new_label_is_one_that_nothing_bears():
    document = parent_from(CHAIN).document
    first = free_label(document, "encoder")
    assert first == "encoder_1"
    assert free_label(with_entry(document, first, document["graph"]["encoder"]), "encoder") == "encoder_2"
