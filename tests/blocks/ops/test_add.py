from __future__ import annotations

import torch

from archsearch.blocks.ops.add import Add
from archsearch.blocks.signals import Info, Signal, Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def reference(settings, ports, tensors):
    return {"sum": sum(ports["terms"])}


def _sae(spec):
    document = base()
    document["graph"] = {
        "center": "pre_bias",
        "one": "linear_encoder",
        "two": {"kind": "mlp_encoder", "hidden": 4, "from": "center"},
        "sum": {"from": ["one", "two"], **spec},
        "gate": "relu",
        "decoder": "linear_decoder",
    }
    return document


EXAMPLE = Example(
    cases=(Case(), Case(types={"terms": Signal.PRE}), Case(types={"terms": Signal.RECONSTRUCTION}, levels=LEVELS)),
    fields={"from_": Two(["one", "two"], ["one", "two", "two"])},
    reference=reference,
    sae=_sae,
)


def test_terms_add_up():
    terms = (Info(Signal.PRE, 2), Info(Signal.PRE, 2))
    add = Add(Add.Spec(), Sizes(2, 2, {"terms": terms}))
    assert add([torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])])["sum"].tolist() == [11.0, 22.0]
