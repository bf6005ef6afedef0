from archsearch.search.evolution.removing import removals
from tests.search.evolution.history import CHAIN, SUM, changes, one, parent_from, reads


def test_whoever_read_a_block_reads_what_it_read():
    found = one(changes(removals, parent_from(CHAIN)), "remove center (pre_bias)")
    assert [*found["graph"]] == ["encoder", "gate", "decoder"]
    assert reads(found, "encoder") == {"x": ["x"]}


def test_what_nothing_reads_any_more_goes_too():
    found = [change.document for change in changes(removals, parent_from(SUM)) if change.how == "remove sum (add)"]
    left = {frozenset(document["graph"]): reads(document, "gate")["pre"] for document in found}
    rest = {"center", "gate", "decoder"}
    assert left == {frozenset({*rest, "encoder"}): ["encoder.pre"], frozenset({*rest, "deep"}): ["deep.pre"]}


def test_a_block_that_nothing_can_stand_in_for_stays():
    how = {change.how for change in changes(removals, parent_from(CHAIN))}
    assert how == {"remove center (pre_bias)"}


def test_terms_and_events_are_taken_out_but_never_the_reconstruction_nor_a_penalty_that_is_needed():
    parent = parent_from({**CHAIN, "gate": "relu"}, losses={"sparsity": "l1", "dead": "aux_k"}, revival="anthropic_resampling")
    found = changes(removals, parent)
    assert {change.how for change in found} == {
        "remove center (pre_bias)",
        "remove losses.dead (aux_k)",
        "remove revival (anthropic_resampling)",
    }
    assert one(found, "remove revival (anthropic_resampling)")["revival"] is None
