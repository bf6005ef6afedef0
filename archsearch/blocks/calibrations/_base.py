"""Contract of the calibration slot: cuts the codes of a trained SAE, once, at the end of its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._block import Block


class Calibration(Block, abstract=True):
    """Chooses cut-offs: from then on, an entry of a code smaller in size than its latent's cut-off is zero at inference.

    Plain torch on one member at a time, under no gradient. How much is kept is decided once for the whole SAE, from its codes before
    anything is cut; then each dictionary's cut-offs are chosen in the order signals flow, so that a later one sees what the cuts before it
    leave to it.
    """

    slot = "calibration"
    cutting: ClassVar[dict[str, Any]] = {"kind": "remove_lowest", "per": "all"}
    """What cuts SAEs to the points of a study that names no calibration itself; the L0 is given to the block's `l0_setting`."""

    def suits(self, dense_rank: int) -> None:
        """Checks that the event can act on an SAE with `dense_rank` flowing past every code.

        Raises:
            InvalidInput: it cannot.
        """

    def keeps(self, l0: float, dense_rank: int) -> float:
        """Returns the share (0 to 1) of nonzero entries to keep, of an SAE whose effective L0, `dense_rank` included, is `l0`."""
        raise NotImplementedError  # abstract

    def cutoffs(self, code: Float[Tensor, "rows latent"], counts: Sequence[int]) -> Float[Tensor, "counts latent"]:
        """Returns the cut-offs of one dictionary for each of `counts`, zero where nothing is cut: so many nonzero entries are left.

        How many are kept is said by `counts` alone, so that an SAE is cut to several L0s from one look at its code.
        """
        raise NotImplementedError  # abstract

    def remark(self, before: float, after: float) -> str:
        """Returns what the user should know, in a sentence, of the effective L0 before and after; empty where there is nothing."""
        return ""
