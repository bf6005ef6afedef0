"""Next-token cross-entropy of the spliced model."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from archsearch.blocks._splice import Pass, Splice
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._spliced import Spliced
from archsearch.spec.block import LossSpec, Paper


class SplicedCrossEntropy(Spliced):
    """Next-token cross-entropy of the language model with every reconstruction in its place, in nats per token.

    `-mean_t log q_t(next token)` over every prediction inside a window, as cross-entropies are measured; q is as in `spliced_kl`. An exact
    reconstruction gives the clean model's, which is not the least there is: reconstructions may learn to predict better than the
    activations they stand for, on the text trained on.

    Gradient: `q - 1[next token]` at the logits, through the rest of the model; none into its weights.
    """

    class Spec(LossSpec):
        kind: Literal["spliced_cross_entropy"] = "spliced_cross_entropy"

    paper = Paper(
        title="sparsify (EleutherAI), trainer",
        url="https://github.com/EleutherAI/sparsify",
        where="`loss_fn: ce`, the loss of the language model with the SAE spliced in",
    )

    def compared(self, splice: Splice, spliced: Pass) -> Float[Tensor, ""]:
        left = wide(spliced.logits[:, :-1]).log_softmax(-1)
        return -left.gather(-1, splice.tokens[:, 1:, None]).mean()
