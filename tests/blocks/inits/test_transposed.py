from __future__ import annotations

import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.inits._transposing import geometric_median
from archsearch.blocks.inits.transposed import Transposed
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


def _starts(hooks: dict[str, list[frozenset[str]]], unit: bool = False) -> list[torch.Tensor]:
    """Returns the first weights of one dictionary: those of its encoders, then its rows, of hook points as given."""
    own = [
        LatentParameter(role, torch.full((4, 3), 9.0), {}, print, role, f"{role}.{'.'.join(sorted(at))}", hooks=at)
        for role in ("weight", "dictionary")
        for at in hooks[role]
    ]
    nothing = lambda *_: {}  # noqa: E731
    reads = frozenset(name for at in hooks["weight"] for name in at)
    seen = SAEView([DictionaryView("d", own, torch.zeros(4), unit, reads)], [], {}, 0, nothing, nothing, nothing)
    Transposed(Transposed.Spec()).apply_to(seen, torch.Generator().manual_seed(0))
    return [parameter.value for parameter in own]


A, B, C = frozenset("a"), frozenset("b"), frozenset("c")


def test_an_encoder_starts_as_the_dictionary_of_its_hook_point():
    from_a, from_b, to_b, to_a = _starts({"weight": [A, B], "dictionary": [B, A]})
    torch.testing.assert_close(from_a, to_a)
    torch.testing.assert_close(from_b, to_b)
    assert (to_a - to_b).abs().max() > 0.1


def test_a_dictionary_that_rebuilds_what_no_encoder_reads_starts_as_zero():
    from_a, to_b = _starts({"weight": [A], "dictionary": [B]})
    assert not to_b.any()
    torch.testing.assert_close(from_a.norm(dim=-1), torch.ones(4))
    from_a, to_b = _starts({"weight": [A], "dictionary": [B]}, unit=True)
    torch.testing.assert_close(to_b.norm(dim=-1), torch.ones(4))
    assert ((from_a * to_b).sum(-1).abs() < 0.999).all(), "directions of two spaces have nothing to do with each other"


def test_of_a_weakly_causal_crosscoder_later_layers_start_as_zero():
    from_a, to_a, to_b = _starts({"weight": [A], "dictionary": [A, B]})
    torch.testing.assert_close(from_a, to_a)
    assert to_a.any() and not to_b.any()


def test_an_encoder_of_a_hook_point_that_is_not_rebuilt_has_directions_of_its_own():
    from_a, from_c, to_a = _starts({"weight": [A, C], "dictionary": [A]})
    torch.testing.assert_close(from_a, to_a)
    assert ((from_c * to_a).sum(-1).abs() < 0.999).all() and from_c.any()
