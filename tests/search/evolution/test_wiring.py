from archsearch.search.evolution.wiring import rewirings
from tests.search.evolution.history import CHAIN, SUM, changes, one, parent_from, reads


def test_a_wire_comes_from_every_signal_of_its_type_that_is_there_before():
    found = changes(rewirings, parent_from(SUM))
    assert {change.how for change in found if "decoder" not in change.how} == {
        "wire encoder.x: center.x -> x",
        "wire deep.x: center.x -> x",
        "wire gate.pre: sum.sum -> encoder.pre",
        "wire gate.pre: sum.sum -> deep.pre",
    }  # a sum of one signal with itself is none


def test_what_nothing_reads_any_more_is_taken_out():
    found = one(changes(rewirings, parent_from(SUM)), "wire gate.pre: sum.sum -> deep.pre")
    assert [*found["graph"]] == ["center", "deep", "gate", "decoder"]


def test_a_port_that_does_without_is_given_a_signal():
    graph = {**SUM, "gate": {"kind": "gated", "from": "sum"}}
    parent = parent_from(graph, losses={"sparsity": {"kind": "l1", "of": "gate.gate_code"}})
    found = one(changes(rewirings, parent), "wire gate.magnitude: nothing -> deep.pre")
    assert reads(found, "gate")["magnitude"] == ["deep.pre"] and reads(found, "gate")["gate"] == ["sum.sum"]


def test_parameters_are_shared_by_a_wire():
    parent = parent_from({**CHAIN, "decoder": {"kind": "linear_decoder", "norm": "free"}})
    found = one(changes(rewirings, parent), "wire decoder.dictionary: nothing -> encoder.weight")
    assert reads(found, "decoder")["dictionary"] == ["encoder.weight"]


def test_what_is_to_be_rebuilt_and_an_output_without_a_code_are_left_alone():
    parent = parent_from(SUM, losses={"dead": "aux_k"})
    how = {change.how for change in changes(rewirings, parent)}
    assert not any(".target" in each or ".reconstruction:" in each or "the output" in each for each in how)
    assert "wire losses.dead.pre: sum.sum -> encoder.pre" in how
