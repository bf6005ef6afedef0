"""Switch encoder."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.encoders._base import Encoder
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from archsearch.spec.block import Field, Paper, StepSpec


class SwitchEncoder(Encoder):
    """Sends every row to one of `experts` equal blocks of latents: `h = (W x + b) p_e` in the block of `e = argmax p`, 0 in all others.

    `p = softmax(R (x - b_r))` is the router. With `route: heaviside` the block's pre-activations are not multiplied by `p_e`. A gate that
    clips at zero and has no bias of its own (`topk`, `batch_topk`, `relu`, `jumprelu`) then keeps latents of one expert only, and what it
    keeps is what the paper keeps, which clips before the gate; a gate with biases may turn on latents of other experts.

    `balance = balance_weight * d * experts * sum_e load_e * mean_b p_e` is added to the loss; `load_e` is the share of rows sent to expert
    `e`. It is `balance_weight * d` when experts are equally loaded, up to `experts` times that when one gets all. FLOPs are those of the
    routed computation, one expert and the router; what runs here is the product of all experts, masked, so routing saves no time.

    Gradient: with `route: soft` the router learns through `p_e` of the chosen expert and through `balance`; with `heaviside` through
    `balance` alone, so that it spreads rows and never learns which expert suits one. Loads have none.

    Differs from the paper: the router reads what the encoder reads, so that after a pre-bias `b_r` is counted from the centre (both start
    there) and the router's gradient reaches the centre too. Its code weighs `balance` by 0.01 d, for far longer runs: in short ones most
    experts then fall silent early, for what an expert gets makes it more likely.
    """

    class Spec(StepSpec):
        kind: Literal["switch_encoder"] = "switch_encoder"
        experts: int = Field(8, ge=2, description="Equal blocks the latents are split into (count); must divide the latents.")
        route: Literal["soft", "heaviside"] = Field("soft", description="Multiply the chosen block by its probability, or not.")
        balance_weight: float = Field(
            0.1, ge=0, allow_inf_nan=False, description="Coefficient of the balancing loss, a multiple of d (in units of E|x|^2 = d)."
        )
        bias: bool = Field(False, description="Learn a bias per latent.")

    paper = Paper(
        title="Efficient dictionary learning with switch sparse autoencoders",
        url="https://arxiv.org/abs/2410.08201",
        where="section 3; the balancing loss in units of d as in its code, https://github.com/amudide/switch_sae",
    )
    exposes = {"weight": Signal.WEIGHT}

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__()
        _check(spec, sizes)
        widths = {"latent": sizes.latent, "expert": spec.experts, "model": sizes.model}
        self.parameter("weight", ("latent", "model"), widths)
        self.parameter("router", ("expert", "model"), widths)
        self.parameter("router_bias", ("model",), widths)
        self.bias = None
        if spec.bias:
            del self.bias
            self.parameter("bias", ("latent",), widths)
        self.experts, self.model, self.soft = spec.experts, sizes.model, spec.route == "soft"
        self.setting("balance_weight", float(spec.balance_weight))

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        _check(spec, sizes)
        return {**super().produces(spec, sizes), "balance": Info(Signal.LOSS, 1)}

    @classmethod
    def flops(cls, spec: Spec, sizes: Sizes) -> int:
        return 2 * sizes.model * (sizes.latent // spec.experts + spec.experts)

    def forward(self, x: Float[Tensor, "batch model"]) -> Out:
        pre, odds, chosen = self._routed(x)
        balance = self.experts * (chosen.mean(0) * odds.mean(0)).sum()
        return Out(pre=pre, balance=self.balance_weight * self.model * balance)

    def infer(self, x: Float[Tensor, "batch model"]) -> Out:
        return Out(pre=self._routed(x)[0])

    def _routed(
        self, x: Float[Tensor, "batch model"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch expert"], Float[Tensor, "batch expert"]]:
        """Returns pre-activations, the router's probabilities, and 1 for the expert of each row."""
        odds = self._odds(x)
        chosen = (torch.arange(self.experts, device=x.device) == odds.argmax(-1, keepdim=True)).to(odds.dtype)
        every = functional.linear(x, self.weight, self.bias)
        factor = (chosen * odds if self.soft else chosen).to(every.dtype)
        return (every.unflatten(-1, (self.experts, -1)) * factor.unsqueeze(-1)).flatten(-2), odds, chosen

    def _odds(self, x: Float[Tensor, "batch model"]) -> Float[Tensor, "batch expert"]:
        # Not in 16 bits: rounded, nearly equal experts would tie or change places, and with them a row's whole code.
        device = x.device.type
        plain = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with plain:
            return functional.linear(wide(x) - self.router_bias, self.router).softmax(-1)


def _check(spec: SwitchEncoder.Spec, sizes: Sizes) -> None:
    """Refuses a count of experts that does not divide the latents.

    Raises:
        AssemblyError: naming both numbers.
    """
    if sizes.latent % spec.experts:
        raise AssemblyError(
            [f"experts must divide the latents into equal blocks; experts={spec.experts!r} does not divide {sizes.latent} latents"]
        )
