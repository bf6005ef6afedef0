"""Equal meaning, equal hash: labels, order and dead blocks drop out; any setting or wire counts."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from pydantic import Field

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.spec.block import BlockSpec, SpecModel
from archsearch.spec.hashes import canonical, digest, merkle, written


def test_canonical_json_has_one_spelling():
    assert canonical({"b": 16384.0, "a": (1, 2.5)}) == '{"a":[1,2.5],"b":16384}'
    assert canonical({"lr": 3.0000004e-4}) == canonical({"lr": 3e-4})
    assert canonical({"lr": 3.1e-4}) != canonical({"lr": 3e-4})
    assert canonical([-0.0, 0, True, None, "x"]) == '[0,0,true,null,"x"]'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_numbers_that_are_not_finite_are_refused(value: Any):
    with pytest.raises(ValueError, match="numbers must be finite"):
        canonical({"a": value})


def test_what_is_not_plain_data_is_refused():
    with pytest.raises(TypeError):
        canonical({"a": {1, 2}})
    with pytest.raises(TypeError, match="keys must be text; got 3"):
        canonical({3: 1})


def test_a_digest_is_sixteen_hex_digits_for_ever():
    assert digest({"a": 1}) == "015abd7f5cc57a2d"


class Inner(BlockSpec):
    kind: str = "inner"
    rate: float = 1.0


class Outer(SpecModel):
    width: int
    inner: Inner = Inner()
    many: dict[str, Inner] = {}
    from_: str | None = Field(None, alias="from")


def test_settings_equal_to_their_default_are_not_written():
    assert written(Outer.model_validate({"width": 3})) == {"width": 3}
    found = written(Outer.model_validate({"width": 3, "inner": {"rate": 2}, "many": {"a": {"rate": 1}}, "from": "x"}))
    assert found == {"width": 3, "inner": {"kind": "inner", "rate": 2}, "many": {"a": {"kind": "inner"}}, "from": "x"}


def node(kind: str, settings: dict[str, Any] | None = None, **ports: Any) -> dict[str, Any]:
    wires = {
        port: [w if isinstance(w, tuple) else (w, False) for w in ([w] if not isinstance(w, list) else w)] for port, w in ports.items()
    }
    return {"kind": kind, "settings": settings or {}, "inputs": wires}


# A pre-bias that reads the bias of a decoder downstream of it: a cycle of blocks, though not of values.
NODES = {
    "center": node("pre_bias", x="x", bias="decoder.bias"),
    "encoder": node("linear_encoder", {"width": 64}, x="center.x"),
    "gate": node("gated", {"bandwidth": 0.5}, gate="encoder.pre", target="x", dictionary=("decoder.dictionary", True)),
    "decoder": node("linear_decoder", code="gate.code"),
    "losses/sparsity": node("l1", {"weight": 3.0}, code="gate.gate_code"),
    "losses/reconstruction": node("squared_error", reconstruction="decoder.reconstruction", target="x"),
}
OUTPUTS = {"x": "decoder.reconstruction"}
LOSSES = ["losses/sparsity.loss", "losses/reconstruction.loss", "gate.auxiliary"]


def relabelled(nodes: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    def signal(text: str) -> str:
        label, _, output = text.rpartition(".")
        return f"{names[label]}.{output}" if label in names else text

    return {
        names[label]: {**n, "inputs": {port: [(signal(s), d) for s, d in wires] for port, wires in n["inputs"].items()}}
        for label, n in nodes.items()
    }


@pytest.mark.parametrize("seed", range(10))
def test_labels_and_order_drop_out(seed: int):
    draw = random.Random(seed)
    labels = list(NODES)
    names = dict(zip(labels, draw.sample([f"block{i}" for i in range(20)], len(labels))))
    nodes = relabelled(NODES, names)
    order = draw.sample(list(nodes), len(nodes))
    losses = [f"{names[s.rpartition('.')[0]]}.{s.rpartition('.')[2]}" for s in draw.sample(LOSSES, len(LOSSES))]
    found = merkle({label: nodes[label] for label in order}, {"x": f"{names['decoder']}.reconstruction"}, losses)
    assert found == merkle(NODES, OUTPUTS, LOSSES)


def test_blocks_nothing_reads_drop_out():
    dead = NODES | {"spare": node("linear_encoder", x="center.x"), "after": node("relu", pre="spare.pre")}
    assert merkle(dead, OUTPUTS, LOSSES) == merkle(NODES, OUTPUTS, LOSSES)


def test_an_empty_port_is_no_port():
    nodes = copy.deepcopy(NODES)
    nodes["gate"]["inputs"]["magnitude"] = []
    assert merkle(nodes, OUTPUTS, LOSSES) == merkle(NODES, OUTPUTS, LOSSES)


CHANGES = {
    "kind": lambda n: n["encoder"].update(kind="mlp_encoder"),
    "setting": lambda n: n["gate"]["settings"].update(bandwidth=0.6),
    "setting of a loss": lambda n: n["losses/sparsity"]["settings"].update(weight=4),
    "wire": lambda n: n["encoder"]["inputs"].update(x=[("x", False)]),
    "output read": lambda n: n["losses/sparsity"]["inputs"].update(code=[("gate.code", False)]),
    "detach": lambda n: n["gate"]["inputs"].update(dictionary=[("decoder.dictionary", False)]),
    "parameter wire": lambda n: n["center"]["inputs"].pop("bias"),
    "port": lambda n: n["gate"]["inputs"].update(aim=n["gate"]["inputs"].pop("target")),
    "input": lambda n: n["gate"]["inputs"].update(target=[("y", False)]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_setting_or_wire_counts(change: str):
    nodes = copy.deepcopy(NODES)
    CHANGES[change](nodes)
    assert merkle(nodes, OUTPUTS, LOSSES) != merkle(NODES, OUTPUTS, LOSSES)


def test_targets_and_losses_count():
    assert merkle(NODES, {"y": OUTPUTS["x"]}, LOSSES) != merkle(NODES, OUTPUTS, LOSSES)
    assert merkle(NODES, OUTPUTS, LOSSES[:2]) != merkle(NODES, OUTPUTS, LOSSES)


def test_two_encoders_alike_are_not_one_encoder_read_twice():
    def gated(other: str) -> dict[str, Any]:
        return {
            "one": node("linear_encoder", x="x"),
            "two": node("linear_encoder", x="x"),
            "gate": node("gated", gate="one.pre", magnitude=f"{other}.pre"),
            "decoder": node("linear_decoder", code="gate.code"),
        }

    assert merkle(gated("two"), OUTPUTS) != merkle(gated("one"), OUTPUTS)


def test_the_order_of_wires_in_a_port_counts():
    def subtract(terms: list[str]) -> dict[str, Any]:
        return {"a": node("pre_bias", x="x"), "decoder": node("subtract", terms=terms)}

    assert merkle(subtract(["x", "a.x"]), OUTPUTS) != merkle(subtract(["a.x", "x"]), OUTPUTS)


def test_losses_that_look_alike_are_hashed_whatever_their_labels():
    """Two dictionaries alike, a penalty on each, and a third that reads both in one order: only the wiring may break the tie."""

    def twins(first: str, second: str) -> str:
        nodes = {name: node("linear_encoder", x="x") for name in ("e1", "e2")}
        nodes |= {f"losses/{name}": node("l1", code=f"{name}.pre") for name in ("e1", "e2")}
        nodes["losses/both"] = node("contrast", terms=[f"{first}.pre", f"{second}.pre"])
        nodes["decoder"] = node("linear_decoder", x="x")
        return merkle(nodes, OUTPUTS, ["losses/e1.loss", "losses/e2.loss", "losses/both.loss"])

    assert twins("e1", "e2") == twins("e2", "e1") != twins("e1", "e1")


def test_implicit_and_explicit_wires_are_one_architecture():
    short = {
        "width": 16,
        "graph": {"center": "pre_bias", "encoder": "linear_encoder", "gate": "topk", "decoder": "linear_decoder"},
    }
    full = {
        "width": 16,
        "graph": {
            "rows": {"kind": "linear_decoder", "from": "sparse.code"},
            "sparse": {"kind": "topk", "from": {"pre": "wide"}},
            "wide": {"kind": "linear_encoder", "from": "middle"},
            "middle": {"kind": "pre_bias", "from": {"x": "x", "bias": "rows.bias"}},
        },
        "outputs": {"x": "rows"},
    }
    receipts = [assemble(parse(document), model=8, device="meta").receipt for document in (short, full)]
    assert receipts[0].arch == receipts[1].arch
