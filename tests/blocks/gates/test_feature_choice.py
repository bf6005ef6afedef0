from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.gates.feature_choice import FeatureChoice
from archsearch.blocks.signals import Sizes
from tests.blocks.gates.shared import k_now
from tests.blocks.harness import Case, Example, Two


def _due(settings, ports) -> list[int]:
    rows, latents = ports["pre"].shape
    budget = round(k_now(settings, ports) * rows)
    shares = [(i + settings["offset"]) ** -settings["exponent"] for i in range(1, latents + 1)]
    sums = np.cumsum(shares)
    ends = [0, *(round(float(end)) for end in sums / sums[-1] * budget)]
    return [after - before for before, after in pairwise(ends)]


def reference(settings, ports, tensors):
    pre = ports["pre"]
    code = np.zeros_like(pre)
    threshold, seen = tensors["threshold"].copy(), tensors["seen"].copy()
    due = _due(settings, ports)
    assert sum(due) == round(k_now(settings, ports) * len(pre))
    for latent, count in enumerate(due):
        column = pre[:, latent]
        chosen = [row for row in np.argsort(-column, kind="stable")[:count] if column[row] > 0]
        code[chosen, latent] = column[chosen]
        if chosen:
            seen[latent] += 1
            threshold[latent] += (min(column[chosen]) - threshold[latent]) / min(seen[latent], settings["memory"])
    return {"code": code, "threshold": threshold, "seen": seen}


def reference_infer(settings, ports, tensors):
    pre = ports["pre"]
    on = (pre > 0) & (pre >= tensors["threshold"]) & (tensors["seen"] > 0)
    return {"code": np.where(on, pre, 0.0)}


ZIPF = {"exponent": 1.0}
EXAMPLE = Example(
    settings={"k": 3},
    cases=(
        Case(),
        Case({"k": 100}),
        Case({"k": 2, "exponent": 1.0}),
        Case({"k": 2, "exponent": 2.5, "offset": 1.5}),
        Case({"k": 1, "k_start": 4, "anneal_frac": 0.75}),
        Case({"k": 1, "k_start": 6, "anneal_frac": 0.75, "anneal": "exponential", **ZIPF}),
    ),
    fields={
        "k": Two(2, 5),
        "exponent": Two(0.5, 1.5),
        "offset": Two(0.5, 3.0, ZIPF),
        "memory": Two(1, 100, {"inference": "running"}),
        "inference": Two("running", "calibrated"),
        "k_start": Two(4, 6, {"anneal_frac": 0.75}),
        "anneal_frac": Two(0.5, 1.0, {"k_start": 4}),
        "anneal": Two("linear", "exponential", {"k_start": 10, "anneal_frac": 0.75}),
    },
    reference=reference,
)


def _gate(k: int, latents: int, **more) -> FeatureChoice:
    return FeatureChoice(FeatureChoice.Spec(k=k, **more), Sizes(2, latents))


def _kept(gate: FeatureChoice, rows: int, latents: int) -> list[int]:
    pre = torch.rand(rows, latents, generator=torch.Generator().manual_seed(0)) + 0.1
    return (gate(pre)["code"] != 0).sum(0).tolist()


def test_every_latent_keeps_its_largest_rows():
    # One latent a row of four rows makes four; two latents get two each, whatever the other's values.
    code = _gate(1, 2)(torch.tensor([[9.0, 0.4], [8.0, 0.3], [7.0, 0.2], [6.0, 0.1]]))["code"]
    np.testing.assert_allclose(code, [[9.0, 0.4], [8.0, 0.3], [0.0, 0.0], [0.0, 0.0]], rtol=1e-6)


def test_a_zipf_law_gives_the_first_latents_more():
    # 11 of them shared 1 : 1/2 : 1/3 = 6 : 3 : 2.
    assert _kept(_gate(1, 3, exponent=1.0), 11, 3) == [6, 3, 2]


@pytest.mark.parametrize(("rows", "latents", "k"), [(7, 5, 1), (16, 12, 3), (100, 33, 2)])
def test_rounding_keeps_the_total(rows: int, latents: int, k: int):
    kept = _kept(_gate(k, latents), rows, latents)
    assert sum(kept) == k * rows and max(kept) - min(kept) <= 1


def test_a_latent_due_more_than_the_batch_gets_the_batch():
    # 8 entries for 4 rows, shared 64 : 1 or so: the first is due 7.9 of them and there are 4.
    assert _kept(_gate(2, 2, exponent=4.0, offset=0.0), 4, 2) == [4, 0]


def test_latents_have_thresholds_of_their_own_and_stay_off_until_they_kept_something():
    gate = _gate(1, 2)
    pre = torch.tensor([[4.0, -1.0], [2.0, -1.0]])
    assert (gate.infer(pre)["code"] == 0).all()
    out = gate(pre)
    gate.threshold, gate.seen = out["threshold"], out["seen"]
    assert gate.threshold.tolist() == [4.0, 0.0] and gate.seen.tolist() == [1.0, 0.0]
    assert gate.infer(torch.tensor([[4.5, 9.0], [3.5, 9.0]]))["code"].tolist() == [[4.5, 0.0], [0.0, 0.0]]


def test_an_offset_without_a_law_is_refused():
    with pytest.raises(ValidationError, match=r"offset: 2.0 cannot act with exponent: 0"):
        FeatureChoice.Spec(offset=2.0)


def test_calibration_gives_each_latent_its_share_of_the_rows():
    gate = FeatureChoice(FeatureChoice.Spec(k=1, inference="calibrated"), Sizes(2, 2))
    gate.seen += 1
    rows = torch.tensor([[5.0, 0.1], [4.0, 0.2], [3.0, 0.3], [2.0, 0.4]])
    for name, value in gate.calibrate(pre=rows).items():
        getattr(gate, name).copy_(value)
    assert gate.threshold.tolist() == pytest.approx([4.0, 0.3])
    assert (gate.infer(rows)["code"] > 0).sum(0).tolist() == [2, 2]
