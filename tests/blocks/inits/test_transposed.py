from __future__ import annotations

import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.inits.transposed import Transposed, geometric_median
from archsearch.blocks.views import DictionaryView, LatentParameter, SAEView
from archsearch.training.member import start
from tests.blocks.harness import Example, Two, base, data

EXAMPLE = Example(
    fields={"norm": Two(1.0, 0.5), "bias": Two("zero", "mean"), "rows": Two(16, 200, {"bias": "mean"})},
    no_reference="draws; what must hold of the draws is tested here",
)


def _member(norm: str = "unit", **init):
    document = base()
    document["graph"]["decoder"] = {"kind": "linear_decoder", "norm": norm}
    return start(parse({**document, "init": {"kind": "transposed", **init}}), data(), data(), precision="float64").sae


def test_encoder_and_dictionary_start_as_each_other():
    sae = _member("free")
    torch.testing.assert_close(sae.block("encoder").weight.data, sae.block("decoder").dictionary.data)


def test_a_unit_dictionary_stays_at_one_and_the_encoder_takes_the_norm():
    document = base()
    sae = start(parse({**document, "init": {"kind": "transposed", "norm": 0.1}}), data(), data(), precision="float64").sae
    ones = torch.ones(12, dtype=torch.float64)
    torch.testing.assert_close(sae.block("decoder").dictionary.norm(dim=-1), ones)
    torch.testing.assert_close(sae.block("encoder").weight.norm(dim=-1), 0.1 * ones)


def test_a_matrix_that_is_not_drawn_stays_as_it_is():
    drawn, fixed = LatentParameter("a", torch.zeros(3, 2), {}, print), LatentParameter("b", torch.zeros(3, 2), {}, print, drawn=False)
    nothing = lambda *_: {}  # noqa: E731
    seen = SAEView([DictionaryView("d", [drawn, fixed], torch.zeros(3), False)], [], {}, 0, nothing, nothing, nothing)
    Transposed(Transposed.Spec()).apply_to(seen, torch.Generator().manual_seed(0))
    assert (drawn.value.norm(dim=-1) > 0.9).all() and (fixed.value == 0).all()


def test_the_bias_starts_at_a_centre_of_the_scaled_data():
    sae = _member(bias="mean")
    torch.testing.assert_close(sae.block("decoder").bias.data, sae.scale(data())["x"].mean(0))


def test_the_geometric_median_of_a_square_with_an_outlier():
    # On a line the geometric median is the median; the mean would be 21.
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [99.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(geometric_median(rows), torch.tensor([2.0, 0.0], dtype=torch.float64), atol=1e-3, rtol=0)


def test_pre_activations_start_with_mean_square_one():
    """The scale the defaults of thresholds and bandwidths are stated in."""
    sae = _member()
    pre = sae.signals(sae.scale(data()))["encoder.pre"]
    assert 0.5 < pre.square().mean() < 2.0
