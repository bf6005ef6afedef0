"""`target_l0`: what a requested L0 becomes."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.reach import l0_range
from archsearch.assembler.requested import check_written
from archsearch.assembler.resolved import resolved
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import AssemblyError, InvalidInput
from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.blocks.harness import data

TRAINING = {"tokens": 1600, "batch": 16}
QUADRATIC = {"sparsity": {"kind": "l0_quadratic", "target": 20}}


def sae(graph: dict[str, Any], **more: Any) -> Any:
    return parse({"width": 64, "graph": graph, "training": TRAINING, "target_l0": 12, **more})


def chain(gate: Any) -> dict[str, Any]:
    return {"encoder": "linear_encoder", "gate": gate, "decoder": "linear_decoder"}


@pytest.mark.parametrize("gate", ["topk", {"kind": "batch_topk", "k": 40}])
def test_a_gate_that_keeps_a_count_is_given_it(gate: Any):
    spec = sae(chain(gate))
    assert spec.graph["gate"].k == 12 and spec.controller is None and spec.target_l0 is None


def test_penalties_are_steered():
    spec = sae(chain("relu"), losses={"sparsity": {"kind": "l1", "weight": 2.0}})
    assert spec.controller.l0 == 12 and spec.losses["sparsity"].weight == 2.0


def test_a_controller_of_ones_own_keeps_its_settings():
    spec = sae(chain("relu"), losses={"sparsity": "l1"}, controller={"kind": "l0_controller", "l0": 99, "integral": 5.0})
    assert (spec.controller.l0, spec.controller.integral) == (12, 5.0)


def test_a_penalty_that_holds_a_target_is_given_it_too():
    spec = sae(chain("jumprelu"), losses={"sparsity": "l0_quadratic"})
    assert spec.losses["sparsity"].target == 12 and spec.controller.l0 == 12


def test_several_counts_share_it_in_proportion():
    inner = {"kind": "sae", "width": 16, "graph": chain({"kind": "topk", "k": 4})}
    graph = {
        "coarse": inner,
        "rest": {"kind": "subtract", "from": ["x", "coarse.reconstruction"]},
        "fine": {**inner, "graph": chain({"kind": "topk", "k": 8})},
        "output": {"kind": "add", "from": ["coarse.reconstruction", "fine.reconstruction"]},
    }
    spec = sae(graph)
    assert [spec.graph[label].graph["gate"]["k"] for label in ("coarse", "fine")] == [4, 8]


def test_what_cannot_be_steered_is_refused_with_a_sentence():
    with pytest.raises(InvalidInput, match="target_l0: nothing here can bring the SAE to an L0 of 12"):
        sae(chain("relu"))


def test_a_controller_with_nothing_to_steer_is_refused():
    spec = parse({"width": 64, "graph": chain("topk"), "training": TRAINING, "controller": "l0_controller"})
    with pytest.raises(AssemblyError, match="nothing to steer"):
        assemble(spec, model=8)


@pytest.mark.parametrize("wanted", [0, -3, True, "many", "8", 65])
def test_a_target_that_is_no_number_above_zero_is_refused(wanted: Any):
    with pytest.raises(InvalidInput, match="target_l0"):
        sae(chain("topk"), target_l0=wanted)


def test_the_resolved_spec_says_what_was_done_and_is_the_same_sae():
    spec = sae(chain("relu"), losses={"sparsity": "l1"})
    document = resolved(assemble(spec, model=8, device="meta"))
    assert document["target_l0"] is None and document["controller"]["l0"] == 12
    again = assemble(parse(document), model=8, device="meta")
    assert again.receipt == assemble(spec, model=8, device="meta").receipt


def test_the_document_is_left_as_it_was():
    document = {"width": 64, "graph": chain("topk"), "training": TRAINING, "target_l0": 12}
    parse(document)
    assert document["target_l0"] == 12 and document["graph"]["gate"] == "topk"


@pytest.mark.parametrize(
    ("count", "what"),
    [
        (0, "at least 1"),
        (-3, "at least 1"),
        (True, "whole number"),
        (3.7, "whole number"),
        (float("inf"), "number"),
        (float("nan"), "number"),
    ],
    ids=str,
)
def test_a_count_that_is_none_is_refused_for_what_it_is(count: Any, what: str):
    with pytest.raises(InvalidInput, match=rf"graph\.gate\.k: .*{what}"):
        sae(chain({"kind": "topk", "k": count}))


def test_a_count_that_reads_as_one_is_replaced_too():
    assert sae(chain({"kind": "topk", "k": "40"})).graph["gate"].k == 12


@pytest.mark.parametrize(("wanted", "given"), [(33, [17, 16]), (2, [1, 1]), (1, [1, 1])])
def test_shares_are_whole_and_add_up(wanted: int, given: list[int]):
    stage = {"kind": "sae", "width": 32, "graph": chain({"kind": "topk", "k": 4})}
    rest = {"kind": "subtract", "from": ["x", "one.reconstruction"]}
    graph = {"one": stage, "rest": rest, "two": stage, "output": {"kind": "add", "from": ["one.reconstruction", "two.reconstruction"]}}
    spec = sae(graph, target_l0=wanted)
    assert [spec.graph[label].graph["gate"]["k"] for label in ("one", "two")] == given


def test_counts_that_leave_nothing_to_steer_are_refused():
    stage = {"kind": "sae", "width": 32, "graph": chain({"kind": "topk", "k": 12})}
    graph = {"one": stage, "rest": {"kind": "subtract", "from": ["x", "one.reconstruction"]}, **chain("relu")}
    graph["output"] = {"kind": "add", "from": ["one.reconstruction", "decoder"]}
    with pytest.raises(InvalidInput, match="keep 12 already"):
        sae(graph, losses={"sparsity": {"kind": "l1", "of": "gate"}})


# Paths past the codes.


def skipping(gate: Any, bottleneck: int | None = 4) -> dict[str, Any]:
    skip = {"kind": "linear_map", "from": "x", **({"bottleneck": bottleneck} if bottleneck else {})}
    return {**chain(gate), "skip": skip, "output": {"kind": "add", "from": ["decoder", "skip"]}}


@pytest.mark.parametrize("gate", ["topk", {"kind": "batch_topk", "k": 40}, "groupmax"], ids=str)
def test_the_rank_of_a_path_past_the_codes_is_taken_off(gate: Any):
    spec = sae(skipping(gate))
    assert spec.graph["gate"].k == 8
    assert assemble(spec, model=6, device="meta").receipt.dense_rank == 4


def test_what_is_trained_then_has_the_l0_asked_for():
    document = {"width": 64, "graph": skipping("topk"), "training": TRAINING, "target_l0": 12}
    member = start(parse(document), data(), data(), precision="float64")
    train([member], Looped())
    assert evaluate(member.sae, data()).l0 == pytest.approx(12, abs=0.5)


def test_several_counts_share_what_the_path_leaves_and_a_target_of_a_loss_does_too():
    graph = skipping("topk")
    graph |= {"other": {"kind": "linear_encoder", "from": "x"}, "second": "topk", "decode": "linear_decoder"}
    graph["output"] = graph.pop("output") | {"from": ["decoder", "decode", "skip"]}
    assert [sae(graph).graph[label].k for label in ("gate", "second")] == [4, 4]
    spec = sae(skipping("jumprelu"), losses=QUADRATIC)
    assert (spec.losses["sparsity"].target, spec.controller.l0) == (8, 12)


@pytest.mark.parametrize(
    ("graph", "wanted", "what"),
    [
        (skipping("topk"), 4, "target_l0: paths past the codes have rank 4, which counts as L0: of 4 nothing is left for the gates"),
        (skipping("topk", None), 12, "paths past the codes have the rank of the activations, which counts as L0: of 12 nothing is left"),
        (skipping("topk"), 69, r"at most the number of latents \(64\) and the rank of paths past them \(4\); got 69"),
    ],
    ids=["nothing left", "full rank", "too many"],
)
def test_an_l0_that_the_path_uses_up_is_refused(graph: dict[str, Any], wanted: int, what: str):
    with pytest.raises(InvalidInput, match=what):
        sae(graph, target_l0=wanted)
    assert sae(skipping("topk"), target_l0=68).graph["gate"].k == 64


# Two L0s in one document.


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"controller": {"kind": "l0_controller", "l0": 99}, "losses": {"sparsity": "l1"}}, "controller.l0"),
        ({"losses": QUADRATIC}, "losses.sparsity.target"),
    ],
)
def test_two_l0s_asked_for_by_the_same_user_are_refused_and_both_named(more: dict[str, Any], path: str):
    document = {"width": 64, "graph": chain("jumprelu"), "target_l0": 12, **more}
    with pytest.raises(InvalidInput) as told:
        check_written(document, catalogue())
    (problem,) = told.value.problems
    assert problem.path == path and f"{path} " in problem.what and "target_l0 12; say it in one place only" in problem.what


@pytest.mark.parametrize(
    "document",
    [
        {"target_l0": 20, "losses": QUADRATIC},
        {"target_l0": 20.0, "controller": {"kind": "l0_controller", "l0": 20}},
        {"target_l0": 12, "controller": {"kind": "l0_controller", "integral": 5.0}, "losses": {"sparsity": "l0_quadratic"}},
        {"losses": QUADRATIC, "controller": {"kind": "l0_controller", "l0": 99}},
        {"target_l0": 12, "controller": 3, "losses": "many", "graph": []},
        "no document",
    ],
    ids=str,
)
def test_one_l0_however_often_it_is_said_is_no_contradiction(document: Any):
    check_written(document, catalogue())


# A first gate, whose code only makes another gate's pre-activations.


def unrolled(first: Any, gate: Any, **more: Any) -> dict[str, Any]:
    refine = {"kind": "refine", "from": "encoder"}
    return {"encoder": "linear_encoder", "first": first, "refine": refine, "gate": gate, "decoder": "linear_decoder", **more}


def of(graph: dict[str, Any], *labels: str) -> list[Any]:
    return [graph[label]["k"] if isinstance(graph[label], dict) else graph[label].k for label in labels]


@pytest.mark.parametrize("first", ["topk", {"kind": "batch_topk", "k": 40}], ids=str)
def test_a_first_gate_takes_no_share_and_is_given_the_whole_count(first: Any):
    assert of(sae(unrolled(first, {"kind": "batch_topk", "k": 8})).graph, "first", "gate") == [12, 12]


def test_a_count_behind_a_gate_of_another_kind_is_given_to_that_gate_alone():
    assert sae(unrolled("relu", "topk")).graph["gate"].k == 12


def test_a_first_gate_before_one_that_is_steered_is_given_the_whole_l0():
    spec = sae(unrolled("topk", "relu"), losses={"sparsity": "l1"})
    assert (spec.graph["first"].k, spec.controller.l0) == (12, 12)


def test_the_rank_past_the_codes_is_taken_off_the_first_gate_too():
    skip = {"skip": {"kind": "linear_map", "from": "x", "bottleneck": 4}, "output": {"kind": "add", "from": ["decoder", "skip"]}}
    assert of(sae(unrolled("topk", "topk", **skip)).graph, "first", "gate") == [8, 8]
    spec = sae(unrolled("topk", "relu", **skip), losses={"sparsity": "l1"})
    assert (spec.graph["first"].k, spec.controller.l0) == (8, 12)


def test_of_two_stages_each_first_gate_follows_its_own():
    def stage(k: int) -> dict[str, Any]:
        return {"kind": "sae", "width": 32, "graph": unrolled({"kind": "topk", "k": 32}, {"kind": "topk", "k": k})}

    rest = {"kind": "subtract", "from": ["x", "one.reconstruction"]}
    graph = {
        "one": stage(4),
        "rest": rest,
        "two": stage(8),
        "output": {"kind": "add", "from": ["one.reconstruction", "two.reconstruction"]},
    }
    spec = sae(graph)
    assert [of(spec.graph[label].graph, "first", "gate") for label in ("one", "two")] == [[4, 4], [8, 8]]


def test_two_first_gates_in_a_row_follow_the_last():
    graph = unrolled("topk", "topk")
    again = {"second": {"kind": "topk", "k": 5}, "refine_again": {"kind": "refine", "from": "refine"}}
    graph = {**dict(list(graph.items())[:3]), **again, **dict(list(graph.items())[3:])}
    assert of(sae(graph).graph, "first", "second", "gate") == [12, 12, 12]


def test_more_than_the_gate_that_speaks_could_keep_is_refused():
    with pytest.raises(InvalidInput, match=r"at most the number of latents \(64\); got 65"):
        sae(unrolled("topk", "topk"), target_l0=65)


def test_a_gate_that_is_no_count_is_refused_for_what_it_is_behind_a_first_gate_too():
    with pytest.raises(InvalidInput, match=r"graph\.gate\.k: .*whole number"):
        sae(unrolled("topk", {"kind": "topk", "k": "many"}))


def test_what_is_wrong_with_the_wires_is_said_before_what_a_first_gate_keeps():
    spec = sae(unrolled("relu", {"kind": "topk", "k": 32}), losses={"sparsity": "l0"})
    with pytest.raises(AssemblyError, match="needs a signal of type active"):
        assemble(spec, model=8)


def test_what_is_trained_with_a_first_gate_has_the_l0_asked_for_and_settings_tell_it():
    document = {"width": 64, "graph": unrolled("batch_topk", "topk"), "training": TRAINING, "target_l0": 12}
    spec = parse(document)
    assert l0_range(spec, catalogue(), 0) == (12, 12)
    member = start(spec, data(), data(), precision="float64")
    train([member], Looped())
    assert evaluate(member.sae, data()).l0 == pytest.approx(12, abs=0.5)
