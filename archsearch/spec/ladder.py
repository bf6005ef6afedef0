"""The ladder of a study: where SAEs that fall behind are stopped."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field

from archsearch.spec.block import SpecModel


def _rising(rungs: list[float]) -> list[float]:
    if any(later <= earlier for earlier, later in pairwise(rungs)):
        raise ValueError(f"must rise; got {rungs!r}")
    return rungs


class LadderSpec(SpecModel):
    """Stops SAEs early that stand far behind those measured at the same share of their run."""

    rungs: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], AfterValidator(_rising)] = Field(
        [0.25, 0.5], min_length=1, description="Shares of the run after which each is measured and judged (0 to 1)."
    )
    eta: float = Field(3.0, gt=1, description="One in `eta` of those measured at a rung goes on, and all of its front (factor).")
    audit: float = Field(
        0.0, ge=0, le=1, description="Share of the stopped that is finished all the same, to see whether stopping lost anything (0 to 1)."
    )
