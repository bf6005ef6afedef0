"""When a study ends before all its trials are done."""

from __future__ import annotations

from pydantic import Field

from archsearch.spec.block import SpecModel


class Stalled(SpecModel):
    """Ends a study whose front no longer grows."""

    trials: int = Field(16, ge=1, description="Trials of the search looked back on (count).")
    gain: float = Field(
        0.005, ge=0, lt=1, description="Least growth of the hypervolume over them that counts, as a share of what it was (0 to 1)."
    )


class StopSpec(SpecModel):
    """Ends a study between two cohorts, whichever comes first; unset: no such end."""

    tokens: int | None = Field(None, ge=1, description="Tokens trained on, baselines included (count).")
    hours: float | None = Field(None, gt=0, description="Wall clock of all sessions together (hours); `--budget` says it for one command.")
    stalled: Stalled | None = Field(None, description="Ends once hypervolume stalls.")
