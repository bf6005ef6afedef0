"""Checks of a wired graph: widths along parameters, idle counts that are kept, and weights that something trains."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.errors import AssemblyError
from tests.assembler.test_wiring import CHAIN, build, decoder, stages


@pytest.mark.parametrize(
    ("term", "what"),
    [
        (
            {"kind": "l1", "norm": "dictionary", "from": {"code": "coarse.gate", "dictionary": "fine.decoder.dictionary"}},
            r"'coarse/gate\.code': 4, 'fine/decoder\.dictionary': 12",
        ),
        (
            {
                "kind": "pre_act",
                "from": {"pre": "fine.encoder", "dictionary": "fine.decoder.dictionary", "threshold": "coarse.gate.threshold"},
            },
            r"'fine/encoder\.pre': 12, .*'coarse/gate\.threshold': 4",
        ),
        (
            {
                "kind": "aux_k",
                "dead_after_frac": 0.2,
                "from": {"pre": "coarse.encoder", "dictionary": "coarse.decoder.dictionary", "idle": "fine.gate.idle"},
            },
            r"'coarse/encoder\.pre': 4, .*'fine/gate\.idle': 12",
        ),
    ],
    ids=["dictionary", "threshold", "idle"],
)
def test_parameters_of_another_width_are_refused(term: dict[str, Any], what: str):
    with pytest.raises(AssemblyError, match=rf"losses\.term: signals of different widths meet in losses/term: .*{what}"):
        build(stages("jumprelu", "jumprelu"), {"term": term})


@pytest.mark.parametrize("through", ["coarse.encoder.weight", "borrower.dictionary"], ids=["directly", "through another decoder"])
def test_rows_of_another_width_cannot_be_tied(through: str):
    graph = {
        "coarse": {"kind": "sae", "width": 4, "graph": CHAIN},
        "borrower": {**decoder(dictionary="coarse.encoder.weight"), "from": {"code": "coarse.gate", "dictionary": "coarse.encoder.weight"}},
        **CHAIN,
        "encoder": {"kind": "linear_encoder", "from": "x"},
        "decoder": decoder(dictionary=through),
        "output": {"kind": "add", "from": ["borrower", "coarse", "decoder"]},
    }
    # The width is the encoder's, whoever passes its rows on.
    with pytest.raises(AssemblyError, match=r"graph\.decoder: signals of different widths meet in decoder: .*'gate\.code': 12.*: 4"):
        build(graph)


def test_a_gate_before_the_decoder_it_reads_from_is_compared_too():
    gate = {"kind": "gated", "from": {"gate": "encoder", "dictionary": "coarse.decoder.dictionary"}}
    lent = {"encoder": {"kind": "linear_encoder", "from": "x"}, "gate": gate, "decoder": decoder()}
    graph = {"coarse": {"kind": "sae", "width": 4, "graph": CHAIN}, **lent, "output": {"kind": "add", "from": ["coarse", "decoder"]}}
    with pytest.raises(AssemblyError, match=r"graph\.gate: signals of different widths meet in gate"):
        build(graph)


def test_idle_counts_of_a_code_that_reaches_no_output_are_refused():
    graph = {
        "helper": "linear_encoder",
        "task_gate": "relu",
        "task": {"kind": "linear_decoder", "from": "task_gate"},
        **CHAIN,
        "encoder": {"kind": "linear_encoder", "from": "x"},
    }
    losses: dict[str, Any] = {"task": {"kind": "squared_error", "of": "task"}}
    build(graph, losses)
    losses["dead"] = {"kind": "aux_k", "dead_after_frac": 0.2, "from": {"idle": "task_gate.idle", "pre": "encoder"}}
    with pytest.raises(AssemblyError, match=r"losses\.dead: idle counts are kept of codes that reach an output; 'task_gate' makes none"):
        build(graph, losses)


def test_a_decoder_no_term_of_the_loss_reads_is_refused():
    losses = {"reconstruction": {"kind": "squared_error", "of": "coarse.decoder"}}
    with pytest.raises(AssemblyError, match=r"graph\.fine\.graph\.decoder: no term of the loss reads what 'fine/decoder' makes"):
        build(stages(), losses)
    build(stages(), {**losses, "rest": {"kind": "squared_error", "of": "output"}})


def test_a_gradient_stopped_on_purpose_is_nobodys_mistake():
    """A random encoder is a baseline."""
    build({**CHAIN, "gate": {"kind": "topk", "k": 3, "from": {"pre": {"signal": "encoder", "detach": True}}}})


def test_an_output_that_only_lends_needs_no_term():
    graph = {
        "encoder": {"kind": "linear_encoder", "from": "a"},
        "gate": "topk",
        "to_a": "linear_decoder",
        "to_b": {**decoder(dictionary="to_a.dictionary", bias="to_a.bias")},
    }
    losses = {"reconstruction": {"kind": "squared_error", "from": {"reconstruction": "to_a", "target": "a"}}}
    build(graph, losses, inputs=["a", "b"], outputs={"a": "to_a", "b": "to_b"})


def test_a_loss_that_trains_nothing_is_refused():
    losses = {"reconstruction": {"kind": "squared_error", "from": {"reconstruction": {"signal": "decoder", "detach": True}}}}
    with pytest.raises(AssemblyError, match=r"losses: every wire from a term of the loss to a parameter stops the gradient"):
        build(CHAIN, losses)
    build({**CHAIN, "gate": "relu"}, {**losses, "sparsity": "l1"})
