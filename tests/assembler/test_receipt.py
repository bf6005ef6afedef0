"""What members of a stacked group must share."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from torch import Tensor

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import Catalogue, built_in
from archsearch.blocks.schedules._base import Schedule
from archsearch.spec.block import BlockSpec, Field


class Power(Schedule):
    """Falls to zero as a power of what is left of the run."""

    class Spec(BlockSpec):
        kind: Literal["power"] = "power"
        shape: Literal["even", "steep"] = Field("even", description="Whether what is left is squared first.")
        power: float = Field(1.0, gt=0, le=4, description="Exponent (no unit).")

    paper = None

    def __init__(self, spec: Spec):
        super().__init__()
        self.steep = spec.shape == "steep"
        self.setting("power", spec.power)

    def forward(self, progress: Tensor) -> Tensor:
        left = 1 - progress
        return (left * left if self.steep else left) ** self.power


BLOCKS = Catalogue.of([*built_in().blocks.values(), Power])


def structure(schedule: Any = "warmup_decay", **more: Any) -> str:
    graph = {"encoder": "linear_encoder", "gate": "relu", "decoder": "linear_decoder"}
    training = {"tokens": 1600, "batch": 16, "schedule": schedule, **more.pop("training", {})}
    document = {"width": 12, "graph": graph, "losses": {"sparsity": "l1"}, "training": training, **more}
    return assemble(parse(document, BLOCKS), model=6, device="meta", blocks=BLOCKS).receipt.structure


def test_what_is_no_number_of_a_schedule_is_another_program():
    assert structure({"kind": "power", "shape": "even"}) != structure({"kind": "power", "shape": "steep"})


@pytest.mark.parametrize("kind", ["power", "warmup_decay"])
def test_numbers_are_not(kind: str):
    name = "power" if kind == "power" else "decay_frac"
    assert structure({"kind": kind, name: 0.3}) == structure({"kind": kind, name: 0.6})
    assert structure(kind) == structure({"kind": kind, name: 0.6})
    assert structure(training={"optimizer": {"kind": "adam", "lr": 0.01}}) == structure(
        training={"optimizer": {"kind": "adam", "eps": 1e-6}}
    )


def test_moments_a_controller_checks_at_are_shared():
    def steered(**settings: Any) -> str:
        return structure(controller={"kind": "l0_controller", "l0": 8, **settings})

    assert steered() == steered(integral=5.0) == steered(l0=4)
    assert steered() != steered(check_frac=[0.5])
