from __future__ import annotations

import math

import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.encoders.switch_encoder import SwitchEncoder
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.training.member import start
from tests.blocks.harness import Case, Example, Two, base, data


def _odds(row, tensors):
    logits = [sum(r * (v - b) for r, v, b in zip(rs, row, tensors["router_bias"])) for rs in tensors["router"]]
    most = max(logits)
    parts = [math.exp(logit - most) for logit in logits]
    return [part / sum(parts) for part in parts]


def _codes(settings, ports, tensors):
    shift = tensors.get("bias", [0.0] * len(tensors["weight"]))
    size = len(tensors["weight"]) // settings["experts"]
    out = []
    for row in ports["x"]:
        p = _odds(row, tensors)
        chosen = p.index(max(p))
        factor = p[chosen] if settings["route"] == "soft" else 1.0
        whole = [sum(w * v for w, v in zip(ws, row)) + b for ws, b in zip(tensors["weight"], shift)]
        out.append([factor * h if place // size == chosen else 0.0 for place, h in enumerate(whole)])
    return out


def reference(settings, ports, tensors):
    odds = [_odds(row, tensors) for row in ports["x"]]
    rows, experts = len(odds), settings["experts"]
    chosen = [p.index(max(p)) for p in odds]
    load = sum(chosen.count(e) / rows * sum(p[e] for p in odds) / rows for e in range(experts))
    return {"pre": _codes(settings, ports, tensors), "balance": settings["balance_weight"] * len(ports["x"][0]) * experts * load}


def reference_infer(settings, ports, tensors):
    return {"pre": _codes(settings, ports, tensors)}


EXAMPLE = Example(
    settings={"experts": 2},
    cases=(Case(), Case({"route": "heaviside"}), Case({"experts": 4, "bias": True})),
    fields={
        "experts": Two(2, 4),
        "route": Two("soft", "heaviside"),
        "balance_weight": Two(0.01, 0.3),
        "bias": Two(False, True),
    },
    reference=reference,
)


def _block(**settings) -> SwitchEncoder:
    """Returns two experts with two latents each; positive x goes to the first, negative to the second."""
    block = SwitchEncoder(SwitchEncoder.Spec(experts=2, **settings), Sizes(model=1, latent=4))
    block.weight.data = torch.tensor([[1.0], [2.0], [-3.0], [4.0]])
    block.router.data = torch.tensor([[math.log(3)], [0.0]])
    return block


def test_each_row_speaks_through_one_expert():
    x = torch.tensor([[1.0], [-1.0]])
    soft, hard = _block()(x)["pre"], _block(route="heaviside")(x)["pre"]
    # p = (3/4, 1/4) for the first row, its mirror image for the second.
    torch.testing.assert_close(soft, torch.tensor([[0.75, 1.5, 0.0, 0.0], [0.0, 0.0, 2.25, -3.0]]))
    torch.testing.assert_close(hard, torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, -4.0]]))


def test_balance_is_its_weight_times_d_when_experts_share_the_rows_evenly_and_more_when_they_do_not():
    block = _block(balance_weight=0.5)
    torch.testing.assert_close(block(torch.tensor([[1.0], [-1.0]]))["balance"], torch.tensor(0.5))
    # All rows to the first expert: 2 * (1 * 3/4 + 0 * 1/4) = 3/2.
    torch.testing.assert_close(block(torch.tensor([[1.0], [1.0]]))["balance"], torch.tensor(0.75))


@pytest.mark.parametrize("route", ["soft", "heaviside"])
def test_what_the_router_learns_from(route: str):
    block = _block(route=route)
    out = block(torch.tensor([[1.0], [2.0]]))
    (pulled,) = torch.autograd.grad(out["pre"].sum(), block.router, retain_graph=True, allow_unused=True)
    assert (pulled is not None and pulled.abs().sum() > 0) == (route == "soft")
    (balanced,) = torch.autograd.grad(out["balance"], block.router)
    assert balanced[0] > 0 > balanced[1], "the expert with all the rows is made less likely"


def test_its_loss_is_added_up_under_its_own_name():
    document = base()
    document["graph"]["encoder"] = {"kind": "switch_encoder", "experts": 3}
    sae = start(parse(document), data(), data(), precision="float64").sae
    loss, terms, _ = sae(data(), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(loss, sum(terms.values()))
    assert terms["encoder.balance"] >= 0.1 * 6 * 0.99, "its least value is that of equal loads, or close to it"
    assert "encoder.balance" not in sae.signals(sae.scale(data()))


@pytest.mark.parametrize("gate", [{"kind": "topk", "k": 3}, {"kind": "topk", "k": 12}, "relu", {"kind": "batch_topk", "k": 2}])
def test_codes_stay_within_one_expert_and_are_those_of_a_clipped_one(gate):
    document = base()
    document["graph"] |= {"encoder": {"kind": "switch_encoder", "experts": 3}, "gate": gate}
    sae = start(parse(document), data(), data(), precision="float64").sae
    signals = sae.signals(sae.scale(data()))
    on = (signals["gate.code"] != 0).unflatten(-1, (3, 4)).any(-1)
    assert on.any() and (on.sum(-1) <= 1).all()
    # The paper clips the expert's latents at zero before the gate: the gate's own clip does the same.
    clipped = sae.block("gate").infer(pre=signals["encoder.pre"].relu())["code"]
    torch.testing.assert_close(clipped, signals["gate.code"])


def test_a_router_in_sixteen_bits_is_not_rounded():
    block = SwitchEncoder(SwitchEncoder.Spec(experts=4), Sizes(model=8, latent=8))
    torch.nn.init.normal_(block.router)
    torch.nn.init.normal_(block.weight)
    x = torch.randn(64, 8)
    exact = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        short = block(x)
    assert short["balance"].dtype == torch.float32 and torch.equal(short["balance"], exact["balance"])
    assert torch.equal(short["pre"] != 0, exact["pre"] != 0)


def test_experts_that_do_not_divide_the_latents_are_refused():
    document = base()
    document["graph"]["encoder"] = {"kind": "switch_encoder", "experts": 5}
    with pytest.raises(AssemblyError, match=r"graph\.encoder.*experts=5 does not divide 12 latents"):
        assemble(parse(document), model=6)


def test_flops_are_those_of_one_expert_and_the_router():
    assert SwitchEncoder.flops(SwitchEncoder.Spec(experts=4), Sizes(model=5, latent=24)) == 2 * 5 * (24 // 4 + 4)


def test_what_it_gives_is_known_before_it_runs():
    found = SwitchEncoder.produces(SwitchEncoder.Spec(experts=4), Sizes(model=5, latent=24))
    assert found == {"pre": Info(Signal.PRE, 24), "balance": Info(Signal.LOSS, 1)}
