from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.errors import DataError
from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.blocks.harness import base, data


def _trained(gate: Any = "relu", names: tuple[str, ...] = ("x",), **graph: Any) -> Member:
    document = base()
    document["graph"] |= {"gate": gate, **graph}
    member = start(parse(document), data(names), data(names), precision="float64")
    train([member], Looped())
    return member


def _by_hand(x: np.ndarray, y: np.ndarray, code: np.ndarray) -> dict[str, float]:
    rows = len(x)
    error = ((x - y) ** 2).sum() / rows
    variance = ((x - x.mean(0)) ** 2).sum() / rows
    cosines = [(a @ b) / np.sqrt((a @ a) * (b @ b)) for a, b in zip(x, y)]
    return {
        "code_l0": np.mean([np.count_nonzero(row) for row in code]),
        "fvu": error / variance,
        "mse": error,
        "dead_frac": np.mean([not np.any(column) for column in code.T]),
        "gamma": (y * y).sum() / (x * y).sum(),
        "cosine": np.mean(cosines),
        "rows": rows,
    }


@pytest.mark.parametrize("batch", [1000, 100, 7], ids=["one-batch", "several", "uneven"])
@pytest.mark.parametrize("gate", ["relu", {"kind": "topk", "k": 3}], ids=["relu", "topk"])
def test_metrics_equal_a_direct_computation(gate: Any, batch: int):
    sae = _trained(gate).sae
    found = evaluate(sae, data(), batch=batch)
    expected = _by_hand(data()["x"].numpy(), sae.reconstruct(data())["x"].detach().numpy(), sae.encode(data()).detach().numpy())
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-10), name
    assert found.l0 == found.code_l0 and found.dense_rank == 0


def test_reconstructions_are_judged_in_the_units_of_the_activations():
    small = {"x": data()["x"] * 1e-3}
    sae = _trained().sae
    scaled = start(parse(base()), small, small, precision="float64").sae
    scaled.load_state_dict({**sae.state_dict(), "scales.x.factor": sae.state_dict()["scales.x.factor"] * 1e3})
    first, second = evaluate(sae, data()), evaluate(scaled, small)
    assert second.fvu == pytest.approx(first.fvu, rel=1e-9)
    assert second.mse == pytest.approx(first.mse * 1e-6, rel=1e-9)


@pytest.mark.parametrize(("bottleneck", "rank"), [(2, 2), (None, 6)])
def test_a_dense_skip_pays_its_rank(bottleneck: int | None, rank: int):
    skip = {"kind": "linear_map", "bottleneck": bottleneck, "from": "x"}
    member = _trained({"kind": "topk", "k": 2}, skip=skip, output={"kind": "add", "from": ["decoder", "skip"]})
    found = evaluate(member.sae, data())
    assert found.dense_rank == rank and found.l0 == found.code_l0 + rank
    # The bill is for what really flows: the skip's map has that rank.
    signals = member.sae.signals({"x": torch.eye(6, dtype=torch.float64)})
    assert torch.linalg.matrix_rank(signals["skip.y"]) == rank


def test_batch_topk_is_judged_by_its_threshold_not_by_the_batch():
    member = _trained({"kind": "batch_topk", "k": 3})
    gate, rows = member.sae.block("gate"), member.sae.scale(data())
    pre = member.sae.signals(rows)["encoder.pre"]
    assert gate.threshold > 0
    expected = ((pre >= gate.threshold) & (pre > 0)).double().sum(-1).mean()
    for batch in (256, 1):
        assert evaluate(member.sae, data(), batch=batch).code_l0 == pytest.approx(float(expected))
    assert float(expected) != 3.0


def test_signed_and_tiny_entries_count():
    sae = _trained().sae

    def signals(rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        code = torch.zeros(len(rows["x"]), 12, dtype=torch.float64)
        code[:, 0], code[:, 1] = -2.0, 1e-30
        return {"gate.code": code, "decoder.reconstruction": torch.zeros(len(code), 6, dtype=torch.float64)}

    sae.before_cuts, sae.after_cuts = signals, lambda before: before  # pyright: ignore
    found = evaluate(sae, data())
    assert found.code_l0 == 2.0 and found.dead_frac == pytest.approx(10 / 12)
    assert found.fvu > 1.0 and np.isnan(found.gamma)


def test_targets_of_a_crosscoder_are_put_together():
    names = ("early", "late")
    document = {
        **base(),
        "inputs": list(names),
        "graph": {
            "one": {"kind": "linear_encoder", "from": "early"},
            "gate": "relu",
            "to_early": "linear_decoder",
            "to_late": {"kind": "linear_decoder", "from": "gate"},
        },
        "outputs": {"early": "to_early", "late": "to_late"},
        "losses": {
            "reconstruction": {"kind": "squared_error", "from": {"reconstruction": "to_early", "target": "early"}},
            "late": {"kind": "squared_error", "from": {"reconstruction": "to_late", "target": "late"}},
        },
    }
    sae = start(parse(document), data(names), data(names), precision="float64").sae
    found = evaluate(sae, data(names))
    rebuilt = {name: value.detach() for name, value in sae.reconstruct(data(names)).items()}
    error = sum(float((data(names)[name] - rebuilt[name]).square().sum(-1).mean()) for name in names)
    variance = sum(float((data(names)[name] - data(names)[name].mean(0)).square().sum(-1).mean()) for name in names)
    assert found.mse == pytest.approx(error) and found.fvu == pytest.approx(error / variance)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="at least one row"):
        evaluate(_trained().sae, {"x": torch.zeros(0, 6)})
