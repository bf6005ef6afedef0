"""KL divergence of the spliced model's predictions."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._splice import Pass, Splice
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._spliced import Spliced
from archsearch.spec.block import LossSpec, Paper


class SplicedKL(Spliced):
    """KL divergence of the next-token distribution that reconstructions leave from the clean one, in nats per token.

    `mean_t sum_v p_tv (log p_tv - log q_tv)`, with p the model's distribution over its vocabulary and q the one with every reconstruction
    in its place, at every position that gives a row. It is 0 for an exact reconstruction, and asks for nothing the model does not use: the
    reconstruction may drift where the model does not look, which raises FVU. From a random start it takes more tokens than a squared error
    to get as far.

    Gradient: `q - p` at the logits, through the rest of the model; none into its weights. The cross-entropy `-sum_v p log q` (sparsify's
    `kl`) has the same.

    Differs from the paper: BOS keeps its own activation and is not counted. The paper's code takes this direction of the divergence, and
    its docstring says the other.
    """

    class Spec(LossSpec):
        kind: Literal["spliced_kl"] = "spliced_kl"

    paper = Paper(
        title="Identifying functionally important features with end-to-end sparse dictionary learning",
        url="https://arxiv.org/abs/2405.12241",
        where="the loss of SAE_e2e (figure 1)",
    )

    def compared(self, splice: Splice, spliced: Pass) -> Float[Tensor, ""]:
        clean, left = (wide(one.logits[:, splice.kept :]).log_softmax(-1) for one in (splice.clean, spliced))
        return (clean.exp() * (clean - left)).sum(-1).mean()
