"""Measures against planted features: those of SAELens' `synthetic.evals`, in float64."""

from __future__ import annotations

import warnings

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sae_lens.synthetic.evals import compute_classification_metrics, feature_uniqueness, mean_correlation_coefficient

from archsearch.evaluation.recovery import Detection, pair_up, uniqueness

pytestmark = pytest.mark.peer


@pytest.mark.parametrize(("latents", "features"), [(12, 12), (20, 9), (7, 15)])
def test_mcc_and_uniqueness_are_saelens(latents: int, features: int):
    generator = torch.Generator().manual_seed(latents)
    rows, truth = (torch.randn(count, 6, generator=generator, dtype=torch.float64) for count in (latents, features))
    assert float(pair_up(rows, truth).cosine.mean()) == pytest.approx(mean_correlation_coefficient(rows, truth), rel=1e-12)
    assert uniqueness(rows, truth) == feature_uniqueness(rows, truth)


def test_detection_is_saelens():
    """There a latent is judged by the feature it is nearest to, and the mean is over latents; here the mean is over features."""
    generator = torch.Generator().manual_seed(5)
    rows, truth = (torch.randn(count, 6, generator=generator, dtype=torch.float64) for count in (10, 8))
    true = (torch.rand(200, 8, generator=generator) < 0.3).double()
    code = ((true @ truth @ rows.T) - 1.0).relu()
    code[:, 3] = 0.0  # a dead latent
    nearest = torch.nn.functional.cosine_similarity(rows[:, None], truth[None], dim=-1).abs().argmax(1)
    ours = Detection(torch.arange(10), nearest)
    for first in (0, 70):
        ours.add(code[first : first + (70 if first == 0 else 130)] != 0, true[first : first + (70 if first == 0 else 130)] != 0)
    theirs = compute_classification_metrics(code, true, rows, truth)
    for name, value in (("precision", theirs.precision), ("recall", theirs.recall), ("f1", theirs.f1_score)):
        assert float(getattr(ours, name).mean()) == pytest.approx(value, rel=1e-6), name  # they count in float32
