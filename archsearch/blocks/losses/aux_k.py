"""Auxiliary loss on dead latents."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor

from archsearch.blocks._block import Out
from archsearch.blocks._sums import wide
from archsearch.blocks.losses._base import Loss
from archsearch.blocks.losses._relative import relative
from archsearch.blocks.signals import SPACE, Port, Signal, Sizes
from archsearch.spec.block import Field, LossSpec, Paper, refuse_unused


class AuxK(Loss):
    """Rebuilds what the SAE got wrong from dead latents alone, so that they learn what is missing (AuxK).

    With `e` the error of the SAE, taken as a constant, and `z` the `k_aux` largest pre-activations of each row among latents that have not
    fired for `dead_after_frac` of the run, clipped at zero, `e_hat = z D` (no bias). The term is zero while no latent is dead. Of an error
    with a level axis the last level is taken. With `V(y) = mean_b |y - mean_b y|^2` and `share = min(dead / k_aux, 1)`, `scale` is

    - `fvu`: `d * mean_b |e - e_hat|^2 / V(e)`, the paper's ratio to the reconstruction's error where that is summed over d;
    - `plain`: `mean_b |e - e_hat|^2`; `dead_share`: that times `share`;
    - `target_variance`: `d * share * mean_b |e - e_hat|^2 / V(x)`, beside an error relative to V(x).

    Implementations differ; the settings that give each one's form, everything else at its default:

    | implementation | settings |
    |---|---|
    | paper, dictionary_learning | defaults; the latter's `fvu` lacks the d: divide `weight` by d |
    | OpenAI's code | `bias: trained` |
    | SAELens (unit-norm dictionary) | `candidates: raw`, `scale: dead_share`, `weight: 1`; for `abs_topk`, `candidates: magnitude` |
    | sparsify | `scale: target_variance`, `bias: added`, `encoder_gradient: false` |
    | BatchTopK, matryoshka_sae | `scale: plain`, `error_gradient: true`, `k_aux: 512`; means over d here and in the error itself |
    | OpenMOSS | `scale: plain`, `error_gradient: true`, `k_aux: 512` |
    | overcomplete | `eligible: unused`, `scale: plain`, `error_gradient: true`, `weight: 0.1`, `k_aux` half the latents |

    Differs from the paper: a latent is dead after a share of the run, where the paper says 10M tokens.
    """

    class Spec(LossSpec):
        kind: Literal["aux_k"] = "aux_k"
        weight: float = Field(1 / 32, ge=0, allow_inf_nan=False, description="Coefficient of the term (in units of E|x|^2 = d).")
        k_aux: int | None = Field(None, ge=1, description="Dead latents used per row (count); null: half the model's width.")
        dead_after_frac: float = Field(0.05, gt=0, lt=1, description="Share of the run without firing after which a latent is dead.")
        eligible: Literal["dead", "unused"] = Field("dead", description="Choose among dead latents, or all that are off in the row.")
        candidates: Literal["relu", "raw", "magnitude"] = Field(
            "relu", description="Clip pre-activations at zero, use negative ones too, or choose by size, sign aside."
        )
        scale: Literal["fvu", "dead_share", "plain", "target_variance"] = Field(
            "fvu", description="Relative to the error's variance; plain by the share of dead latents; plain; relative to the target's."
        )
        bias: Literal["none", "trained", "added"] = Field(
            "none", description="Rebuild without the decoder's bias; let the bias learn only; or add it to what is rebuilt."
        )
        error_gradient: bool = Field(False, description="Let the gradient reach the reconstruction through the error.")
        encoder_gradient: bool = Field(True, description="Let the gradient reach the encoder; if not, only the dictionary learns.")

        @model_validator(mode="after")
        def _acting(self) -> AuxK.Spec:
            if self.eligible == "dead":
                return self
            if self.scale in ("dead_share", "target_variance"):
                raise ValueError(f"scale: {self.scale} counts dead latents, and eligible: unused asks for none; use plain or fvu")
            return refuse_unused(self, ("dead_after_frac",), "eligible: unused")

    paper = Paper(
        title="Scaling and evaluating sparse autoencoders", url="https://arxiv.org/abs/2406.04093", where="section 2.4; appendix A.2"
    )
    inputs = {
        "pre": Port((Signal.PRE,), default="pre"),
        "dictionary": Port((Signal.DICTIONARY,), default="dictionary"),
        "idle": Port((Signal.IDLE,), default="dictionary"),
        "target": Port(SPACE, default="target"),
        "reconstruction": Port(SPACE, default="output", levels=True),
        "code": Port((Signal.CODE,), default="code"),
        "bias": Port((Signal.BIAS,), default="dictionary"),
    }

    def __init__(self, spec: Spec, sizes: Sizes):
        super().__init__(spec)
        wanted = spec.k_aux or max(sizes.model // 2, 1)
        self.k_aux_bound = sizes.bound(wanted)
        self.setting("k_aux", wanted)
        if spec.eligible == "dead":
            self.setting("dead_after_frac", spec.dead_after_frac)
        self.candidates, self.scale, self.bias_added = spec.candidates, spec.scale, spec.bias == "added"
        self.error_gradient, self.encoder_gradient = spec.error_gradient, spec.encoder_gradient
        self.levels = any(info.levels for info in sizes.inputs["reconstruction"])

    @classmethod
    def ports(cls, spec: Spec) -> dict[str, Port]:
        left_out = {"code" if spec.eligible == "dead" else "idle", *(["bias"] if spec.bias == "none" else [])}
        return {name: port for name, port in cls.inputs.items() if name not in left_out}

    def forward(
        self,
        pre: Float[Tensor, "batch latent"],
        dictionary: Float[Tensor, "latent model"],
        target: Float[Tensor, "batch model"],
        reconstruction: Float[Tensor, "*level batch model"],
        idle: Float[Tensor, " latent"] | None = None,
        code: Float[Tensor, "batch latent"] | None = None,
        bias: Float[Tensor, " model"] | None = None,
    ) -> Out:
        error = target - (reconstruction[-1] if self.levels else reconstruction)
        error = error if self.error_gradient else error.detach()
        eligible = code == 0 if idle is None else idle >= self.dead_after_frac
        rebuilt = self._chosen(pre if self.encoder_gradient else pre.detach(), eligible) @ dictionary
        if bias is not None:
            rebuilt = rebuilt + (bias if self.bias_added else bias - bias.detach())
        missed = wide(error - rebuilt).square().sum(-1).mean()
        if self.scale in ("fvu", "target_variance"):
            missed = relative(missed, error if self.scale == "fvu" else target)
        if self.scale in ("dead_share", "target_variance"):
            missed = missed * (eligible.sum().to(missed.dtype) / self.k_aux).clamp(max=1)
        return Out(loss=torch.where(eligible.any(), missed, 0.0))

    def _chosen(self, pre: Tensor, eligible: Tensor) -> Tensor:
        """Returns the pre-activations of each row's chosen latents, zero elsewhere."""
        values = pre.relu() if self.candidates == "relu" else pre
        score = values.abs() if self.candidates == "magnitude" else values
        best = torch.where(eligible, score, -torch.inf).topk(self.k_aux_bound, dim=-1)
        kept = best.values.isfinite() & (torch.arange(self.k_aux_bound, device=pre.device) < self.k_aux)
        return torch.zeros_like(pre).scatter(-1, best.indices, torch.where(kept, values.gather(-1, best.indices), 0.0))
