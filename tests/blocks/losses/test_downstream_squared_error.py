from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.blocks._splice import Pass
from archsearch.blocks.losses.downstream_squared_error import DownstreamSquaredError
from archsearch.blocks.signals import Sizes
from tests.blocks.harness import LEVELS, Case, Example, Two
from tests.blocks.losses.test_spliced_kl import splice_of
from tests.blocks.toy_model import LATER


def reference(settings, ports, tensors):
    splice = ports["splice"]
    _, passed = splice.passed(ports["reconstruction"])
    found = []
    for hook in settings["hooks"]:
        clean, left = splice.clean.rows[hook].double().numpy(), passed[hook]
        error = np.mean([sum((a - b) ** 2 for a, b in zip(x, y)) for x, y in zip(clean, left)])
        centre = {"norm": 0.0, "fvu": clean.mean(0), "plain": 0.0}[settings["scale"]]
        size = np.mean([sum(v * v for v in row) for row in clean - centre]) / clean.shape[1]
        found.append(error if settings["scale"] == "plain" else error / size)
    return {"loss": np.mean(found)}


EXAMPLE = Example(
    settings={"hooks": [LATER[1]]},
    cases=(Case(), Case({"hooks": list(LATER)}, levels=LEVELS), Case({"scale": "fvu"}), Case({"scale": "plain"})),
    fields={"hooks": Two([LATER[0]], list(LATER)), "scale": Two("norm", "fvu")},
    reference=reference,
)


def _loss(clean: list[list[float]], left: list[list[float]], **settings) -> float:
    splice = splice_of([[1.0]], [[1.0]])
    rows = [Pass(splice.clean.logits, {"later": torch.tensor(values)}) for values in (clean, left)]
    splice = replace(splice, clean=rows[0], through=lambda values: rows[1])
    block = DownstreamSquaredError(DownstreamSquaredError.Spec(hooks=["later"], **settings), Sizes(2, 3))
    return block([torch.zeros(1, 2)], splice=splice)["loss"].item()


@pytest.mark.parametrize(("scale", "wanted"), [("plain", 1.0), ("norm", 2 * 1 / 10), ("fvu", 2 * 1 / 5)])
def test_relative_to_the_mean_square_or_the_variance_of_the_clean_rows(scale: str, wanted: float):
    """Rows (3, 1) and (-1, 3): mean square 10, mean (1, 2), variance 5; each is off by 1 in one component."""
    assert _loss([[3.0, 1.0], [-1.0, 3.0]], [[3.0, 2.0], [0.0, 3.0]], scale=scale) == pytest.approx(wanted)


@pytest.mark.parametrize("scale", ["norm", "fvu"])
def test_clean_rows_that_are_all_zero_have_no_scale(scale: str):
    assert _loss([[0.0, 0.0]], [[1.0, 2.0]], scale=scale) == 0.0


def test_a_hook_point_named_twice_is_refused():
    with pytest.raises(ValidationError, match="each be named once"):
        DownstreamSquaredError.Spec(hooks=["later", "later"])
