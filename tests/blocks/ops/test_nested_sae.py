from __future__ import annotations

from archsearch.assembler.parse import parse
from archsearch.training.member import start
from tests.blocks.harness import Example, Two, base, data

INSIDE = {
    "encoder": "linear_encoder",
    "gate": {"kind": "topk", "k": 2},
    "decoder": "linear_decoder",
    "again": {"kind": "linear_decoder", "from": "gate"},
}


def _sae(spec):
    document = base()
    document["graph"] = {"center": {"kind": "pre_bias", "shared": False}, "inner": spec}
    document["graph"]["all"] = {"kind": "add", "from": ["inner", "inner.decoder", "inner.again"]}
    return document


EXAMPLE = Example(
    settings={"width": 10, "graph": INSIDE},
    fields={
        "width": Two(10, 14),
        "graph": Two(INSIDE, {**INSIDE, "gate": {"kind": "topk", "k": 4}}),
        "output": Two("decoder", "again"),
        "from_": Two("center", {"signal": "center", "detach": True}),
    },
    no_reference="laid out in place; computes nothing itself",
    sae=_sae,
)


def test_its_width_is_its_own_and_its_blocks_are_named_under_it():
    member = start(parse(_sae({"kind": "sae", **EXAMPLE.settings})), data(), data())
    assert member.assembly.receipt.width == 10
    assert "inner/gate" in member.sae.graph.nodes
