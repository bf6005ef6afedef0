from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks.levels.matryoshka import Matryoshka
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import Case, Example, Two
from tests.blocks.levels.shared import LEVELLED, nested, usage


def reference(settings, ports, tensors):
    latents = ports["code"].shape[1]
    counts = [round(share * latents) for share in [*settings["prefixes"], 1.0]]
    return {"code": nested(settings, ports["code"], counts, tensors), **usage(settings, ports, tensors)}


EXAMPLE = Example(
    settings={"prefixes": [0.25, 0.5]},
    cases=(
        Case(),
        Case({"prefixes": [0.125, 0.25, 0.75]}),
        Case({"bias_level": True}),
        Case({"order": "frequency", "decay": 0.9}),
        Case({"order": "energy", "bias_level": True}),
    ),
    fields={"prefixes": Two([0.25, 0.5], [0.5]), **LEVELLED},
    reference=reference,
    constants=("dictionary",),
)


def _level(latents: int = 4, **settings) -> Matryoshka:
    return Matryoshka(Matryoshka.Spec(**{"prefixes": [0.25, 0.5], **settings}), Sizes(2, latents))


def test_prefixes_then_the_whole():
    code = _level()(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))["code"]
    assert code.tolist() == [[[1.0, 0.0, 0.0, 0.0]], [[1.0, 2.0, 0.0, 0.0]], [[1.0, 2.0, 3.0, 4.0]]]


def test_no_latent_then_prefixes_then_the_whole():
    code = _level(prefixes=[0.5], bias_level=True)(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))["code"]
    assert code.tolist() == [[[0.0, 0.0, 0.0, 0.0]], [[1.0, 2.0, 0.0, 0.0]], [[1.0, 2.0, 3.0, 4.0]]]


def test_the_latents_that_fire_most_come_first_from_the_next_step_on():
    level, code = _level(order="frequency", decay=0.5), torch.tensor([[1.0, 0.0, 3.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
    first = level(code)
    assert first["code"][0].tolist() == [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], "before anything is known, as they are numbered"
    assert first["usage"].tolist() == [0.25, 0.0, 0.5, 0.0]
    level.usage.copy_(first["usage"])
    second = level(code)
    assert second["code"][0].tolist() == [[0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 2.0, 0.0]]
    assert second["code"][1].tolist() == code.tolist(), "the two that fire"
    assert torch.equal(level.infer(code=code)["code"], second["code"])


def test_energy_counts_the_norm_of_the_rows():
    level, code = _level(order="energy", decay=0.0), torch.tensor([[2.0, 1.0, 0.0, -3.0]])
    dictionary = torch.tensor([[0.0, 1.0], [3.0, 4.0], [9.0, 9.0], [1.0, 0.0]])
    assert level(code, dictionary)["usage"].tolist() == [4.0, 25.0, 0.0, 9.0]


def test_the_running_use_has_no_gradient():
    code = torch.ones(2, 4, requires_grad=True)
    assert not _level(order="energy")(code, torch.ones(4, 2, requires_grad=True))["usage"].requires_grad


@pytest.mark.parametrize("prefixes", [[0.01], [0.25, 0.3], [0.5, 0.25], [0.99]])
def test_levels_that_are_empty_or_coincide_are_refused(prefixes: list[float]):
    with pytest.raises(AssemblyError, match="rising levels"):
        Matryoshka.produces(Matryoshka.Spec(prefixes=prefixes), Sizes(2, 8))


def test_a_decay_of_an_order_that_does_not_move_is_refused():
    with pytest.raises(ValidationError, match="cannot act with order: index"):
        Matryoshka.Spec(decay=0.5)
