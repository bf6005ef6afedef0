"""Metrics of one SAE on held-out rows, at inference: direction and definition of each in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.assembler.sae import SAE
from archsearch.errors import DataError


@dataclass(frozen=True)
class Measurements:
    """What is measured of an SAE; sums run in float64.

    - `l0` (lower is sparser): effective L0, the mean number of nonzero code entries per row plus `dense_rank`, the rank of what flows from
      input to output past every code. Any nonzero entry counts, whatever its sign or size. Rows are those of the store, which holds no
      position the source leaves out (such as a beginning-of-sequence token).
    - `code_l0`: the first part of it. `dense_rank`: the second.
    - `fvu` (lower is better): fraction of variance unexplained about the mean, E|x - x_hat|^2 / (E|x|^2 - |E x|^2), over all targets.
    - `mse` (lower is better): E|x - x_hat|^2, summed over the model's dimensions, in the units of the activations.
    - `dead_frac` (lower is better): share of latents that fire on none of the rows.
    - `gamma` (1 is best): E|x_hat|^2 / E<x, x_hat>; below 1 reconstructions are shrunk (Gated SAE paper, equation 10).
    - `cosine` (higher is better): mean cosine between a row and its reconstruction.
    - `rows`: rows measured.
    """

    l0: float
    code_l0: float
    dense_rank: int
    fvu: float
    mse: float
    dead_frac: float
    gamma: float
    cosine: float
    rows: int

    def as_dict(self) -> dict[str, float]:
        """Returns the measurements by name."""
        return asdict(self)


class _Wanted:
    """A signal as it should come out, in float64, and what is computed of it once for all SAEs."""

    def __init__(self, values: Float[Tensor, "rows model"]):
        self.values = values.double()
        self.squares = self.values.square().sum(-1)
        self.square, self.total = float(self.squares.sum()), self.values.sum(0)


class _Sums:
    def __init__(self, width: int, device: torch.device):
        self.rows = 0
        self.fired = torch.zeros(width, dtype=torch.float64, device=device)
        self.error = self.square = self.rebuilt = self.inner = self.cosine = 0.0
        self.total: dict[str, Float[Tensor, " model"]] = {}

    def add(self, code: Tensor, pairs: dict[str, tuple[_Wanted, Tensor]]) -> None:
        self.rows += len(code)
        self.fired += code.sign().abs_().sum(0)  # `count_nonzero(0)`, which is slow
        for name, (wanted, y) in pairs.items():
            x, y = wanted.values, y.double()
            inner, square = (x * y).sum(-1), y.square().sum(-1)
            self.error += float((x - y).square().sum())
            self.square += wanted.square
            self.rebuilt += float(square.sum())
            self.inner += float(inner.sum())
            self.cosine += float((inner / (wanted.squares * square).sqrt().clamp(min=1e-30)).sum()) / len(pairs)
            self.total[name] = self.total.get(name, 0.0) + wanted.total


def evaluate(sae: SAE, rows: dict[str, Float[Tensor, "rows model"]], batch: int = 4096) -> Measurements:
    """Measures `sae` on raw activations by input name.

    Raises:
        DataError: there are no rows.
    """
    return evaluate_cuts([sae], rows, batch)[0]


@torch.no_grad()
def evaluate_cuts(saes: Sequence[SAE], rows: dict[str, Float[Tensor, "rows model"]], batch: int = 4096) -> list[Measurements]:
    """Measures SAEs of the same weights that are cut differently; what no cut-off changes is computed once.

    Raises:
        DataError: there are no rows.
    """
    count = len(next(iter(rows.values())))
    if count == 0:
        raise DataError("evaluation needs at least one row; the split is empty")
    if not saes:
        return []
    first = saes[0]
    parameter, graph = next(iter(first.parameters())), first.graph
    sums = [_Sums(graph.width, parameter.device) for _ in saes]
    for start in range(0, count, batch):
        part = {name: values[start : start + batch].to(device=parameter.device, dtype=parameter.dtype) for name, values in rows.items()}
        wanted = {name: _Wanted(part[name]) for name in graph.outputs}
        before = first.before_cuts(first.scale(part))
        for sae, own in zip(saes, sums, strict=True):
            signals = sae.after_cuts(before)
            outputs = sae.unscale(sae.outputs(signals))
            own.add(sae.codes(signals), {name: (wanted[name], value) for name, value in outputs.items()})
    return [_measure(own, graph.dense_rank) for own in sums]


def _measure(sums: _Sums, dense_rank: int) -> Measurements:
    n = sums.rows
    variance = sums.square / n - sum(float((total / n).square().sum()) for total in sums.total.values())
    code_l0 = float(sums.fired.sum()) / n
    return Measurements(
        l0=code_l0 + dense_rank,
        code_l0=code_l0,
        dense_rank=dense_rank,
        fvu=sums.error / n / variance if variance > 0 else float("nan"),
        mse=sums.error / n,
        dead_frac=1 - float((sums.fired > 0).double().mean()),
        gamma=sums.rebuilt / sums.inner if sums.inner else float("nan"),
        cosine=sums.cosine / n,
        rows=n,
    )
