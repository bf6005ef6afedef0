"""Hierarchical TopK levels."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks.levels._base import Level
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper, StepSpec


class HierarchicalTopK(Level):
    """Shows the code at several budgets: level `j` keeps the `budgets[j]` largest entries of each row, the last level is the whole code.

    One SAE then serves every budget. Entries are ordered by size, sign aside. How the levels' errors are put together is the loss's
    setting; `squared_error` with `levels: mean` is the paper's average. A budget no smaller than what the gate keeps repeats the whole
    code.

    Shapes: `code` [batch, latent] -> `code` [level, batch, latent].

    Gradient: flows through the kept entries only.

    Differs from the paper: budgets are listed; there they are all counts up to the gate's, or a subset.
    """

    class Spec(StepSpec):
        kind: Literal["hierarchical_topk"] = "hierarchical_topk"
        budgets: list[Annotated[int, Field(ge=1)]] = Field(
            [4, 8, 16], min_length=1, description="Latents kept per row at the levels before the last, rising (count)."
        )

        @model_validator(mode="after")
        def _rising(self) -> HierarchicalTopK.Spec:
            if any(after <= before for before, after in pairwise(self.budgets)):
                raise ValueError(f"budgets must rise; got {self.budgets!r}")
            return self

    paper = Paper(
        title="Train one sparse autoencoder across multiple sparsity budgets to preserve interpretability and accuracy",
        url="https://arxiv.org/abs/2505.24473",
        where="the HierarchicalTopK objective",
    )

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        _check(spec, sizes)
        self.deepest = spec.budgets[-1]
        # A mask over ranks; derived, so that checkpoints need not hold it. From lists: comparing tensors without data takes torch seconds
        # of imports the first time.
        kept = [[[float(rank < budget) for rank in range(self.deepest)]] for budget in spec.budgets]
        self.register_buffer("masks", torch.tensor(kept, dtype=torch.get_default_dtype()), persistent=False)

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        _check(spec, sizes)
        return {"code": Info(Signal.CODE, sizes.latent, len(spec.budgets) + 1)}

    def forward(self, code: Float[Tensor, "batch latent"]) -> Out:
        order = code.abs().topk(self.deepest, dim=-1).indices
        values = code.gather(-1, order) * self.masks.to(code.dtype)
        levels = torch.zeros_like(code).expand(len(values), *code.shape)
        cut = levels.scatter(-1, order.expand(len(values), *order.shape), values)
        return Out(code=torch.cat([cut, code[None]]))


def _check(spec: HierarchicalTopK.Spec, sizes: Sizes) -> None:
    """Refuses budgets that leave nothing out.

    Raises:
        AssemblyError: naming the budget.
    """
    if spec.budgets[-1] >= sizes.latent:
        what = f"budgets must be below the latents, the last level being the whole code; {spec.budgets!r} of {sizes.latent} latents"
        raise AssemblyError([what])
