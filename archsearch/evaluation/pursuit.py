"""Gradient pursuit: the best code an optimiser finds on a fixed dictionary, and how far an encoder falls short of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archsearch.assembler.decoding import by_target, decoded, dictionary_of
from archsearch.assembler.sae import SAE
from archsearch.errors import DataError

_NUMBERS = 2**24
"""Most numbers one part of a refit holds: about 128 MB in float64."""


@torch.no_grad()
def gradient_pursuit(
    x: Float[Tensor, "batch model"], dictionary: Float[Tensor, "latent model"], k: int, signed: bool = False
) -> Float[Tensor, "batch latent"]:
    """Returns codes with at most `k` nonzero entries per row, found by gradient pursuit.

    `k` times: the latent whose row has the largest inner product with the residual joins the support `S`; with `g` the inner products on
    `S` and `c = g D`, the code moves by `g` times `<c, r> / <c, c>`, the best step along it, and is clipped at zero. A latent may be
    chosen twice, or end at zero, so that a row may hold fewer than `k` entries. A row that is rebuilt exactly stays as it is.

    Args:
        x: rows, in the units of the dictionary, without what is added to every reconstruction (biases).
        dictionary: rows speak for latents; of norm 1, else long rows are chosen before better ones.
        k: steps.
        signed: let codes be negative: latents are chosen by the size of the inner product, and nothing is clipped.

    Source: "Improving Dictionary Learning with Gated Sparse Autoencoders" (https://arxiv.org/abs/2404.16014), inference-time optimisation;
    steps as in "Progress Update #1 from the GDM Mech Interp Team", full update, sparse approximation for accelerators.
    """
    code = x.new_zeros(len(x), len(dictionary))
    support = torch.zeros_like(code)
    for _ in range(k):
        residual = x - code @ dictionary
        inner = residual @ dictionary.T
        support = support.scatter(1, (inner.abs() if signed else inner).argmax(1, keepdim=True), 1.0)
        gradient = inner * support
        change = gradient @ dictionary
        size = change.square().sum(1, keepdim=True)
        step = (change * residual).sum(1, keepdim=True) / size.where(size > 0, 1.0)
        code = code + step * gradient
        if not signed:
            code = code.relu()
    return code


def pursuit_flops(model: int, width: int, k: int) -> int:
    """Returns the floating-point operations of one row of gradient pursuit (multiply-adds times two).

    Each of the `k` steps takes the inner products with all latents, and two sums over a support that grows by one each step (residual and
    change) and two products in the model's space (the step). Sums over the support count as long as the support: a program that multiplies
    whole matrices, as the one here, does more.
    """
    return sum(2 * model * width + 2 * 2 * step * model + 2 * 2 * model for step in range(1, k + 1))


@torch.no_grad()
def refitted(
    x: Float[Tensor, "batch model"], dictionary: Float[Tensor, "latent model"], support: Bool[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    """Returns the codes on given supports that rebuild the rows best: least squares, any sign, in float64.

    Rows of the dictionary that depend on each other share a value (a ridge of 1e-10 of their mean squared norm decides).
    """
    x, dictionary = x.double(), dictionary.double()
    code = x.new_zeros(support.shape)
    for rows in _alike(support, len(dictionary[0])):
        most = int(support[rows].sum(1).max())
        if most == 0:
            continue
        order = support[rows].to(torch.int8).topk(most, dim=1).indices
        used = support[rows].gather(1, order).double()
        atoms = dictionary[order] * used[..., None]  # [batch, most, model]
        gram = atoms @ atoms.mT
        ridge = 1e-10 * gram.diagonal(dim1=1, dim2=2).sum(1) / used.sum(1).clamp(min=1)
        # Places beyond a row's support get a unit on the diagonal, so that they come out as zero.
        gram.diagonal(dim1=1, dim2=2).add_(1 - used + ridge[:, None] + 1e-300)
        values = torch.linalg.solve(gram, atoms @ x[rows][..., None]).squeeze(-1)
        code[rows] = code[rows].scatter(1, order, values * used)
    return code


def _alike(support: Tensor, model: int) -> list[Tensor]:
    """Returns row numbers in parts of similar support size, each small enough to be worked on at once."""
    sizes = support.sum(1)
    order = sizes.argsort()
    parts, first = [], 0
    while first < len(order):
        most = int(sizes[order[min(first + 1023, len(order) - 1)]])
        count = max(1, min(1024, _NUMBERS // max(1, most * max(most, model))))
        parts.append(order[first : first + count])
        first += count
    return parts


@dataclass(frozen=True)
class Amortisation:
    """What an SAE loses because an encoder makes its codes, on held-out rows.

    All FVUs (lower is better) are of one dictionary, about the mean, over all targets, in the units of the activations, as `Measurements`
    defines them.

    - `fvu`, `code_l0`: of the SAE's own codes.
    - `pursuit_fvu`, `pursuit_l0`: of the codes gradient pursuit finds in `k` steps, `k` being `code_l0` rounded (at least 1), the same for
      every row. `pursuit_l0` is at most `k`.
    - `refit_fvu`: of the own supports with the best values (least squares, any sign).
    - `gap` (lower is better; 0: the encoder is as good as pursuit): `log(fvu / pursuit_fvu)`. It may be negative: pursuit is greedy, and
      gives every row as many latents, where an encoder may give hard rows more.
    - `values_gap`: `log(fvu / refit_fvu)`, never below 0 but for rounding: what better values on the same supports would gain.
    - `support_gap`: `gap - values_gap`: what is left to which latents are on.
    - `pursuit_flops`: operations of pursuit per row; a receipt's `flops` are those of the whole SAE.
    - `rows`: rows measured.
    """

    fvu: float
    code_l0: float
    k: int
    pursuit_fvu: float
    pursuit_l0: float
    refit_fvu: float
    gap: float
    values_gap: float
    support_gap: float
    pursuit_flops: int
    rows: int

    def as_dict(self) -> dict[str, float]:
        """Returns the measurements by name."""
        return asdict(self)


class _Errors:
    """Adds up squared errors of several codes of the same rows, in the units of the activations."""

    def __init__(self) -> None:
        self.rows = 0
        self.square = 0.0
        self.total: dict[str, Tensor] = {}
        self.error: dict[str, float] = {}
        self.active: dict[str, float] = {}

    def target(self, rows: dict[str, Tensor]) -> None:
        self.rows += len(next(iter(rows.values())))
        for name, x in rows.items():
            self.square += float(x.double().square().sum())
            self.total[name] = self.total.get(name, 0.0) + x.double().sum(0)

    def add(self, what: str, rows: dict[str, Tensor], rebuilt: dict[str, Tensor], code: Tensor) -> None:
        error = sum(float((rows[name].double() - rebuilt[name].double()).square().sum()) for name in rebuilt)
        self.error[what] = self.error.get(what, 0.0) + error
        self.active[what] = self.active.get(what, 0.0) + float((code != 0).sum())

    def fvu(self, what: str) -> float:
        n = self.rows
        variance = self.square / n - sum(float((total / n).square().sum()) for total in self.total.values())
        return self.error[what] / n / variance if variance > 0 else math.nan

    def l0(self, what: str) -> float:
        return self.active[what] / self.rows


@torch.no_grad()
def amortisation(sae: SAE, rows: dict[str, Float[Tensor, "rows model"]], batch: int = 1024) -> Amortisation:
    """Compares an SAE's codes with those of gradient pursuit on its own dictionary, at the same mean L0, on raw activations by input name.

    What reaches the outputs past the codes is the SAE's own for both. Rows of the dictionary count at norm 1 while latents are chosen, so
    that free norms do not matter; codes are signed where the SAE's own ever is negative.

    Raises:
        DataError: there are no rows, or the outputs are no sum of dictionary rows (`decoded`).
    """
    count = len(next(iter(rows.values())))
    if count == 0:
        raise DataError("a comparison with gradient pursuit needs at least one row; the split is empty")
    like, dictionary = next(sae.parameters()), dictionary_of(sae)
    norms = dictionary.norm(dim=1)
    unit = dictionary / norms.where(norms > 0, 1.0)[:, None]
    parts = [{name: values[first : first + batch].to(like) for name, values in rows.items()} for first in range(0, count, batch)]
    facts = [(float((code != 0).sum()), bool((code < 0).any())) for code in map(sae.encode, parts)]
    k, signed = max(1, round(sum(on for on, _ in facts) / count)), any(negative for _, negative in facts)
    sums = _Errors()
    for part in parts:
        one = decoded(sae, part, dictionary)
        raw, x = {name: part[name] for name in sae.graph.outputs}, one.target - one.base
        sums.target(raw)
        for what, code, on in (
            ("own", one.code, dictionary),
            ("pursuit", gradient_pursuit(x, unit, k, signed), unit),
            ("refit", refitted(x, unit, one.code != 0), unit),
        ):
            rebuilt = one.base + (code @ on.to(code)).to(one.base.dtype)
            sums.add(what, raw, sae.unscale(by_target(sae, rebuilt)), code)
    return _amortisation(sums, k, pursuit_flops(dictionary.shape[1], len(dictionary), k))


def _amortisation(sums: _Errors, k: int, flops: int) -> Amortisation:
    own, pursuit, refit = (sums.fvu(what) for what in ("own", "pursuit", "refit"))
    gap, values = _log_ratio(own, pursuit), _log_ratio(own, refit)
    return Amortisation(own, sums.l0("own"), k, pursuit, sums.l0("pursuit"), refit, gap, values, gap - values, flops, sums.rows)


def _log_ratio(first: float, second: float) -> float:
    return math.log(first / second) if first > 0 and second > 0 else math.nan
