"""Metrics: FVU against SAELens' calculator of explained variance, over batches of unequal size and a mean far from zero."""

from __future__ import annotations

import pytest
import torch
from sae_lens.evals import ExplainedVarianceCalculator

from archsearch.assembler.parse import parse
from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.blocks.harness import base, data

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_fvu_is_one_less_saelens_explained_variance(shift):
    rows = {name: values.double() + shift for name, values in data().items()}
    member = start(parse(base()), rows, rows, precision="float64")
    train([member], Looped())
    with torch.no_grad():
        rebuilt = member.sae.reconstruct(rows)["x"]
    theirs = ExplainedVarianceCalculator()
    for first, last in ((0, 5), (5, 17), (17, None)):
        theirs.add_batch(rebuilt[first:last], rows["x"][first:last])
    found = evaluate(member.sae, rows, batch=7)
    assert found.fvu == pytest.approx(1 - theirs.compute(), rel=1e-9)
    assert found.code_l0 == pytest.approx(float((member.sae.encode(rows) != 0).double().sum(-1).mean()), rel=1e-12)
