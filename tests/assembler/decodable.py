"""Small trained SAEs over the kinds of graphs there are, whose outputs are sums of dictionary rows."""

from __future__ import annotations

from typing import Any

import torch

from archsearch.assembler.parse import parse
from archsearch.assembler.sae import SAE
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.blocks.harness import base, data

TOPK = {"kind": "topk", "k": 3}
LEVELS = {"kind": "linear_decoder", "from": "level"}
NESTED = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 2}, "decoder": "linear_decoder"}
RESIDUAL = {
    "coarse": {"kind": "sae", "width": 5, "graph": NESTED},
    "rest": {"kind": "subtract", "from": ["x", "coarse.reconstruction"]},
    "fine": {"kind": "sae", "width": 7, "graph": NESTED, "from": "rest"},
    "output": {"kind": "add", "from": ["coarse.reconstruction", "fine.reconstruction"]},
}
GRAPHS: dict[str, dict[str, Any]] = {
    "chain": {},
    "levels": {"gate": TOPK, "level": {"kind": "matryoshka", "prefixes": [0.25, 0.5], "from": "gate"}, "decoder": LEVELS},
    "budgets": {"gate": TOPK, "level": {"kind": "hierarchical_topk", "budgets": [1, 2], "from": "gate"}, "decoder": LEVELS},
    "free norms": {"gate": TOPK, "decoder": {"kind": "linear_decoder", "norm": "free"}},
    "tied": {"decoder": {"kind": "linear_decoder", "norm": "free", "from": {"code": "gate", "dictionary": "encoder.weight"}}},
    "signed": {"gate": {"kind": "abs_topk", "k": 3}},
    "skip": {
        "gate": TOPK,
        "decoder": "linear_decoder",
        "skip": {"kind": "linear_map", "bottleneck": 2, "from": "x"},
        "output": {"kind": "add", "from": ["decoder", "skip"]},
    },
}
EVERY = [*GRAPHS, "residual", "crosscoder"]


def document_of(name: str) -> dict[str, Any]:
    """Returns the spec of one of `EVERY`."""
    if name == "residual":
        return {**base(), "graph": RESIDUAL, "losses": {}}
    if name == "crosscoder":
        graph = {
            "one": {"kind": "linear_encoder", "from": "early"},
            "gate": TOPK,
            "to_early": "linear_decoder",
            "to_late": {"kind": "linear_decoder", "from": "gate"},
        }
        losses = {
            "reconstruction": {"kind": "squared_error", "from": {"reconstruction": "to_early", "target": "early"}},
            "late": {"kind": "squared_error", "from": {"reconstruction": "to_late", "target": "late"}},
        }
        outputs = {"early": "to_early", "late": "to_late"}
        return {**base(), "inputs": ["early", "late"], "outputs": outputs, "graph": graph, "losses": losses}
    document = base()
    document["graph"] |= GRAPHS[name]
    document["outputs"] = {"x": "output" if name == "skip" else "decoder"}
    return {**document, "losses": {} if "level" in GRAPHS[name] else document["losses"]}


def trained(name: str) -> tuple[SAE, dict[str, torch.Tensor]]:
    """Returns a trained SAE of one of `EVERY`, and the rows it was trained on."""
    rows = data(("early", "late") if name == "crosscoder" else ("x",))
    member = start(parse(document_of(name)), rows, rows, precision="float64")
    train([member], Looped())
    return member.sae, rows
