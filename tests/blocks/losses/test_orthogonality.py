from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.losses.orthogonality import Orthogonality
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import Case, Example, Two, base, grown, place


def reference(settings, ports, tensors):
    rows = ports["dictionary"]
    order, chunk = list(range(len(rows))), len(rows)
    if "uniform" in ports and settings["chunk"] is not None:
        order = sorted(order, key=lambda latent: ports["uniform"][latent])
        chunks = -(-len(rows) // settings["chunk"])
        chunk = -(-len(rows) // chunks)
    total = 0.0
    for start in range(0, len(rows), chunk):
        dealt = order[start : start + chunk]
        for one in dealt:
            total += max([_cosine(rows[one], rows[other]) ** 2 for other in dealt if other != one], default=0.0)
    return {"loss": rows.shape[1] * total / len(rows)}


def reference_infer(settings, ports, tensors):
    return reference({**settings, "chunk": None}, ports, tensors)


def _cosine(a, b) -> float:
    sizes = np.sqrt(sum(a * a)), np.sqrt(sum(b * b))
    return sum(a * b) / (sizes[0] * sizes[1]) if all(sizes) else 0.0


EXAMPLE = Example(
    cases=(Case(), Case({"chunk": 3}), Case({"chunk": 4}), Case({"chunk": None}), Case({"chunk": 5})),
    fields={"chunk": Two(3, None)},
    reference=reference,
)


def _loss(rows: torch.Tensor, **settings) -> torch.Tensor:
    return Orthogonality(Orthogonality.Spec(**settings), Sizes(rows.shape[1], len(rows)))(rows)["loss"]


def test_each_row_counts_with_the_one_most_like_it():
    # cos of rows 0 and 1 is 0.6, of 0 and 2 it is -0.8, of 1 and 2 it is 0; sizes do not matter. d is 2.
    rows = torch.tensor([[2.0, 0.0], [0.3, 0.4], [-8.0, 6.0]])
    assert _loss(rows, chunk=None) == pytest.approx(2 * (0.64 + 0.36 + 0.64) / 3)


def test_rows_in_other_chunks_do_not_count():
    rows, loss = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), Orthogonality(Orthogonality.Spec(chunk=2), Sizes(2, 4))
    assert loss(rows, torch.tensor([0.1, 0.2, 0.3, 0.4]))["loss"] == 0
    assert loss(rows, torch.tensor([0.1, 0.3, 0.2, 0.4]))["loss"] == 2, "d, where each has its like"


@pytest.mark.parametrize("rows", [torch.zeros(5, 3), torch.ones(5, 3), torch.full((5, 3), 1e-30), torch.eye(3)[[0, 0, 1, 1, 2]]])
@pytest.mark.parametrize("chunk", [2, None])
def test_rows_of_zeros_and_equal_rows_have_finite_gradients(rows: torch.Tensor, chunk: int | None):
    rows = rows.clone().requires_grad_()
    loss = Orthogonality(Orthogonality.Spec(chunk=chunk), Sizes(3, 5))
    value = loss(rows, torch.rand(5))["loss"]
    value.backward()
    assert 0 <= value <= 3 + 1e-5 and rows.grad is not None and rows.grad.isfinite().all()


def test_trained_with_it_rows_are_less_alike():
    def alike(weight: float, chunk: int | None = None) -> float:
        document = place("orthogonality", {"weight": weight, "chunk": chunk})
        document["training"]["tokens"] = 16 * 60
        return float(_loss(grown(document).sae.block("decoder").dictionary.detach(), chunk=None))

    without = alike(0.0)
    assert alike(3.0) < 0.7 * without
    assert alike(3.0, chunk=5) < 0.8 * without


def test_it_is_no_sparsity_that_a_controller_could_steer():
    document = place("orthogonality", {})
    del document["losses"]["sparsity"]
    document["controller"] = {"kind": "l0_controller", "l0": 3}
    with pytest.raises(AssemblyError, match="nothing to steer"):
        assemble(parse(document), model=6)


def test_chunks_are_dealt_over_the_latents_of_the_dictionary_it_reads():
    inner = {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 1}, "decoder": "linear_decoder"}
    document = {**base(), "graph": {"coarse": {"kind": "sae", "width": 5, "graph": inner}}, "losses": {}}
    document["losses"]["apart"] = {"kind": "orthogonality", "of": "coarse.decoder.dictionary", "chunk": 2}
    sae = grown(document).sae
    assert sae.graph.width == 5
    assert sae.noise(16) == {"losses/apart.uniform": (5,)}
