from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.blocks.gates.matching_pursuit import MatchingPursuit
from archsearch.blocks.signals import Sizes
from archsearch.errors import InvalidInput
from tests.blocks.gates.pursuit import CASES, FIELDS, activations, built, finite, hopeless, sae, unit
from tests.blocks.gates.shared import k_most, k_now
from tests.blocks.harness import Example


def reference(settings, ports, tensors):
    rows = ports["dictionary"]
    norms = [np.sqrt(sum(row**2)) for row in rows]
    code = np.zeros_like(ports["pre"])
    turns = min(round(k_now(settings, ports)), k_most(settings, len(rows)))
    for b, heights in enumerate(ports["pre"]):
        left, first = heights.copy(), None
        for _ in range(turns):
            scores = [height / norm for height, norm in zip(left, norms)]
            best = int(np.argmax(scores))
            first = scores[best] if first is None else first
            if scores[best] <= settings["tolerance"] * max(first, 0.0):
                break
            value = left[best] / norms[best] ** 2
            code[b, best] += value
            left = left - [value * sum(rows[best] * row) for row in rows]
    return {"code": code}


def reference_infer(settings, ports, tensors):
    return reference(settings, {name: value for name, value in ports.items() if name != "progress"}, tensors)


EXAMPLE = Example(settings={"k": 3}, cases=CASES, fields=FIELDS, reference=reference, sae=sae)


def test_the_best_first_then_the_best_of_what_is_left():
    gate = built(MatchingPursuit, 3, 2, k=2)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    x = torch.tensor([[1.6, 1.2]])  # twice the third row, which top-2 would keep together with the first
    torch.testing.assert_close(gate(x @ rows.T, rows)["code"], torch.tensor([[0.0, 0.0, 2.0]]))
    x = torch.tensor([[2.0, 0.5]])
    # 2 of the first row leave (0, 0.5), of which the second row takes all.
    torch.testing.assert_close(gate(x @ rows.T, rows)["code"], torch.tensor([[2.0, 0.5, 0.0]]))


def test_inner_products_stand_for_the_activation():
    rows, x = unit(20, 6), activations(15, 6)
    code = built(MatchingPursuit, 20, 6, k=5, tolerance=0.0)(x @ rows.T, rows)["code"]
    for row, found in zip(x, code):
        left, expected = row.clone(), torch.zeros(20, dtype=torch.float64)
        for _ in range(5):
            best = int((rows @ left).argmax())
            value = float((rows[best] * left).sum())
            expected[best] += max(value, 0.0)
            left = left - max(value, 0.0) * rows[best]
        torch.testing.assert_close(found, expected)


def test_every_turn_leaves_less():
    rows, x = unit(20, 6), activations(15, 6)
    left = [float((x - built(MatchingPursuit, 20, 6, k=k)(x @ rows.T, rows)["code"] @ rows).square().sum()) for k in (1, 2, 4, 8, 16)]
    assert left == sorted(left, reverse=True) and left[-1] < 0.05 * left[0]


def test_norms_of_rows_change_codes_and_no_reconstruction():
    rows, x = unit(20, 6), activations(15, 6)
    other = rows * torch.linspace(0.2, 3, 20, dtype=torch.float64)[:, None]
    gate = built(MatchingPursuit, 20, 6, k=5)
    torch.testing.assert_close(gate(x @ rows.T, rows)["code"] @ rows, gate(x @ other.T, other)["code"] @ other)


def test_a_row_that_is_explained_stops():
    rows = torch.eye(4)
    code = built(MatchingPursuit, 4, 4, k=4)(torch.tensor([[3.0, 2.0, 0.0, 0.0]]), rows)["code"]
    assert (code != 0).sum() == 2
    code = built(MatchingPursuit, 4, 4, k=4, tolerance=0.7)(torch.tensor([[3.0, 2.0, 0.0, 0.0]]), rows)["code"]
    assert code.tolist() == [[3.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("what", hopeless(8))
@pytest.mark.parametrize("k", [1, 3, 50])
def test_little_to_go_by_is_finite(what: str, k: int):
    code = finite(built(MatchingPursuit, 8, 4, k=k).double(), *hopeless(8)[what])
    if what in ("all zero", "all negative"):
        assert not code.any()
    if what == "a row of zeros":
        assert not code[:, 0].any()


def test_nan_stays():
    gate = built(MatchingPursuit, 4, 4, k=2)
    assert gate(torch.full((1, 4), torch.nan), torch.eye(4))["code"].isnan().any()


def test_it_is_no_gate_of_thresholds():
    with pytest.raises(InvalidInput, match="depends on what was chosen before"):
        built(MatchingPursuit, 4, 4, k=2).folded(torch.zeros(4))


def test_the_choices_are_counted_and_the_first_reads_what_is_there():
    assert MatchingPursuit.flops(MatchingPursuit.Spec(k=1), Sizes(5, 7)) == 2 * 5 * 2
    one, two = (MatchingPursuit.flops(MatchingPursuit.Spec(k=k), Sizes(5, 7)) for k in (1, 2))
    assert two - one == 2 * 5 * 7 + 2 * 5 * 2
