from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.losses.pre_act import PreAct
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import Case, Example, Two, base
from tests.blocks.losses.test_l1 import norms_of, two_hooks


def reference(settings, ports, tensors):
    pre, idle = ports["pre"], ports.get("idle")
    norms = norms_of(settings, ports["dictionary"])
    after = 0.05 if settings["dead_after_frac"] is None else settings["dead_after_frac"]
    total = 0.0
    for (_, i), h in np.ndenumerate(pre):
        if idle is None or idle[i] >= after:
            total += max(ports.get("threshold", np.zeros_like(norms))[i] - h, 0.0) * norms[i]
    return {"loss": total / len(pre)}


def _two(spec):
    document = two_hooks(spec)
    document["graph"]["gate"] = {"kind": "jumprelu", "threshold": 1.5}
    return document


def _sae(spec):
    document = base()
    document["graph"]["gate"] = {"kind": "jumprelu", "threshold": 1.5}
    document["graph"]["decoder"] = {"kind": "linear_decoder", "norm": "free"}
    document["losses"] = {"sparsity": {"kind": "l0", "weight": 0.1}, "term": spec}
    return document


EXAMPLE = Example(
    settings={"weight": 0.1},
    cases=(
        Case(),
        Case(wired=("threshold",)),
        Case({"dictionaries": "concatenated"}, wired=("threshold",)),
        Case({"latents": "dead", "dead_after_frac": 0.2}, wired=("threshold",)),
        Case({"latents": "dead"}),
    ),
    fields={
        "latents": Two("all", "dead"),
        "dictionaries": Two("sum", "concatenated", sae=_two),
        "dead_after_frac": Two(0.2, 0.9, {"latents": "dead"}),
    },
    reference=reference,
    sae=_sae,
)

PRE, ROWS = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])


def test_what_lies_below_the_threshold_counts_with_the_row_s_norm():
    loss = PreAct(PreAct.Spec(), Sizes(2, 2))
    assert loss(PRE, [ROWS])["loss"] == (1 * 2) / 2
    assert loss(PRE, [ROWS], torch.tensor([1.0, 1.0]))["loss"] == (0.5 * 1 + 2 * 2 + 1 * 2) / 2


def test_living_latents_are_left_alone_where_only_dead_ones_count():
    loss = PreAct(PreAct.Spec(latents="dead", dead_after_frac=0.5), Sizes(2, 2))
    theta = torch.tensor([1.0, 1.0])
    assert loss(PRE, [ROWS], theta, torch.tensor([0.5, 0.4]))["loss"] == 0.5 / 2
    assert loss(PRE, [ROWS], theta, torch.tensor([0.0, 0.0]))["loss"] == 0


@pytest.mark.parametrize(("detach", "felt"), [(False, True), (True, False)])
def test_the_threshold_is_lowered_unless_its_wire_is_detached(detach: bool, felt: bool):
    wire = {"signal": "gate.threshold", "detach": detach}
    sae = assemble(parse(_sae({"kind": "pre_act", "weight": 1.0, "from": {"threshold": wire}})), model=6).sae
    torch.nn.init.ones_(sae.block("decoder").dictionary)
    _, terms, _ = sae({"x": torch.zeros(4, 6)}, torch.tensor(0.0))
    theta, bias = torch.autograd.grad(terms["term"], [sae.block("gate").theta, sae.block("encoder").bias], materialize_grads=True)
    assert (theta > 0).all() == felt and theta.any() == felt
    assert (bias < 0).all(), "a step down the gradient lifts the pre-activations"


def test_without_a_gate_that_has_one_the_threshold_is_zero():
    document = _sae({"kind": "pre_act"})
    document["graph"]["gate"], document["losses"] = "relu", {"term": {"kind": "pre_act"}}
    graph = assemble(parse(document), model=6).graph
    assert not graph.nodes["losses/term"].wires.get("threshold")


def test_a_share_without_firing_needs_dead_latents_to_act_on():
    with pytest.raises(ValidationError, match="cannot act with latents: all"):
        PreAct.Spec(dead_after_frac=0.1)
