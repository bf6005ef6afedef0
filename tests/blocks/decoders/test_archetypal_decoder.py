from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.decoders.archetypal_decoder import ArchetypalDecoder
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.blocks.harness import LEVELS, Case, Example, Two, base, data


def reference(settings, ports, tensors):
    points, averages = tensors["candidates"], tensors["averages"]
    away = tensors.get("relaxation", np.zeros((len(averages), points.shape[1])))
    factor = math.exp(tensors["log_scale"][0]) if settings["multiplier"] else 1.0
    model = points.shape[1]
    rows = [
        [factor * (sum(a * p[j] for a, p in zip(weights, points)) + moved[j]) for j in range(model)]
        for weights, moved in zip(averages, away)
    ]
    shift = ports.get("bias", tensors.get("bias", [0.0] * model))
    code = ports["code"].reshape(-1, len(rows))
    out = [[sum(f * row[j] for f, row in zip(codes, rows)) + shift[j] for j in range(model)] for codes in code]
    return {"reconstruction": np.array(out).reshape(*ports["code"].shape[:-1], -1), "candidates": points}


EXAMPLE = Example(
    settings={"points": 7},
    cases=(Case(), Case({"multiplier": False, "bias": False, "delta": 0.0}), Case(levels=LEVELS), Case(wired=("bias",))),
    fields={"points": Two(5, 9), "delta": Two(0.01, 0.0), "multiplier": Two(True, False), "bias": Two(True, False)},
    reference=reference,
)


def _decoder(latents: int = 3, **settings: Any) -> ArchetypalDecoder:
    return ArchetypalDecoder(ArchetypalDecoder.Spec(**settings), Sizes(2, latents, {"code": (Info(Signal.CODE, latents),)}))


def test_rows_are_averages_of_points_a_little_off():
    decoder = _decoder(latents=2, points=2, bias=False)
    decoder.candidates.copy_(torch.tensor([[4.0, 0.0], [0.0, 8.0]]))
    decoder.averages.data = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    decoder.relaxation.data, decoder.log_scale.data = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([math.log(0.5)])
    torch.testing.assert_close(decoder.dictionary.data, torch.tensor([[2.0, 0.5], [1.0, 2.0]]))
    torch.testing.assert_close(decoder(torch.tensor([[1.0, 1.0]]))["reconstruction"].data, torch.tensor([[3.0, 2.5]]))


def test_a_fit_puts_latents_on_points_at_norm_one_on_average():
    decoder = _decoder(latents=3, points=2)
    decoder.fit(torch.tensor([[6.0, 0.0], [0.0, 3.0], [9.0, 9.0]]))
    assert decoder.candidates.tolist() == [[6.0, 0.0], [0.0, 3.0]]
    # Norms 6, 3 and 6 again: 5 on average.
    torch.testing.assert_close(decoder.dictionary.data, torch.tensor([[1.2, 0.0], [0.0, 0.6], [1.2, 0.0]]))
    unscaled = _decoder(latents=1, points=3, multiplier=False)
    unscaled.fit(torch.tensor([[6.0, 0.0], [0.0, 3.0]]))
    assert unscaled.candidates.tolist() == [[6.0, 0.0], [0.0, 3.0], [6.0, 0.0]] and unscaled.dictionary.tolist() == [[6.0, 0.0]]


@pytest.mark.parametrize("members", [(), (3,)])
def test_between_steps_averages_stay_averages_and_relaxations_short(members: tuple[int, ...]):
    decoder = _decoder(points=4, delta=0.5)
    averages, away = torch.randn(*members, 3, 4, dtype=torch.float64), torch.randn(*members, 3, 2, dtype=torch.float64)
    averages[..., 0], short = 0.7, 0.01 * away[..., :1, :]
    away = torch.cat([short, away[..., 1:, :]], -2)
    before, moved = away.clone(), {"averages": averages, "relaxation": away}
    decoder.renormalise(moved)
    assert (averages >= 0).all() and (averages.sum(-1) - 1).abs().max() < 1e-7
    assert away.norm(dim=-1).max() <= 0.5 + 1e-12
    torch.testing.assert_close(away[..., 0, :], before[..., 0, :])
    torch.testing.assert_close(torch.nn.functional.normalize(away, dim=-1), torch.nn.functional.normalize(before, dim=-1))


def test_at_delta_zero_rows_are_averages():
    decoder = _decoder(delta=0.0, points=4)
    assert "relaxation" not in dict(decoder.named_parameters())
    decoder.fit(torch.eye(2))
    assert decoder.dictionary.tolist() == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]


def test_what_reads_the_rows_trains_what_they_are_made_of():
    decoder = _decoder(points=4)
    decoder.fit(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    decoder.dictionary.square().sum().backward()
    for name in ("averages", "relaxation", "log_scale"):
        assert (getattr(decoder, name).grad != 0).any(), name


def _document(**more: Any) -> dict[str, Any]:
    document = base(tokens=16 * 200)
    document["graph"] |= {"gate": {"kind": "topk", "k": 3}, "decoder": {"kind": "archetypal_decoder", "points": 40}}
    document["losses"] = {"dead": {"kind": "aux_k", "dead_after_frac": 0.1}}
    return {**document, **more}


@pytest.mark.parametrize("init", ["transposed", "data_points"])
def test_an_sae_starts_on_its_data_and_its_encoder_with_it(init: str):
    sae = start(parse(_document(init={"kind": init})), data(), data(), precision="float64").sae
    decoder, rows = sae.block("decoder"), sae.scale(data())["x"]
    assert len(decoder.candidates) == 40 and torch.cdist(decoder.candidates, rows).min(-1).values.max() < 1e-6
    torch.testing.assert_close(
        sae.block("encoder").weight.data, torch.nn.functional.normalize(decoder.dictionary.data, dim=-1), rtol=1e-9, atol=1e-9
    )


def test_training_moves_everything_but_the_points_and_lowers_the_error():
    member = start(parse(_document()), data(), data(), precision="float64")
    before = copy.deepcopy(member.sae.state_dict())
    train([member], Looped())
    after = member.sae.state_dict()
    same = {name for name, value in after.items() if "decoder" in name and torch.equal(value, before[name])}
    assert same == {"blocks.decoder.candidates"}
    assert member.failure is None and member.history[-1][1]["reconstruction"] < 0.7 * member.history[0][1]["reconstruction"]
    averages = member.sae.block("decoder").averages
    assert (averages >= 0).all() and (averages.sum(-1) - 1).abs().max() < 1e-6


def test_decoders_of_two_hook_points_start_from_the_same_rows():
    graph = {"from_early": {"kind": "linear_encoder", "from": "early"}, "gate": {"kind": "topk", "k": 3}}
    graph |= {
        f"to_{hook}": {"kind": "archetypal_decoder", "points": points, "from": "gate"} for hook, points in (("early", 30), ("late", 20))
    }
    document = {**base(), "inputs": ["early", "late"], "graph": graph, "outputs": {"early": "to_early", "late": "to_late"}}
    document["losses"] = {"reconstruction": {"kind": "squared_error", "from": {"reconstruction": "to_early", "target": "early"}}}
    document["losses"]["late"] = {"kind": "squared_error", "from": {"reconstruction": "to_late", "target": "late"}}
    rows = data(("early", "late"))
    sae = start(parse(document), rows, rows, precision="float64").sae
    early, late = (torch.cdist(sae.block(f"to_{hook}").candidates, sae.scale(rows)[hook]).argmin(-1) for hook in ("early", "late"))
    assert early[:20].tolist() == late.tolist()
