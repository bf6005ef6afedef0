"""Contract of the op slot: plumbing between signals."""

from __future__ import annotations

from archsearch.blocks._block import StepBlock


class Op(StepBlock, abstract=True):
    """Combines or shifts signals; each op states its ports and types."""

    slot = "op"
