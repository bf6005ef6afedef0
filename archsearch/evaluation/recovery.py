"""How well an SAE finds planted features: measures of a dictionary and its codes against the truth of a synthetic source."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from archsearch.activations.splits import Split
from archsearch.activations.synthetic import codes, directions, mean_strength, parents_of
from archsearch.assembler.decoding import by_target, dictionary_of, inputs_of
from archsearch.assembler.sae import SAE
from archsearch.errors import DataError
from archsearch.evaluation.absorption import FamilyCounts
from archsearch.spec.activations import SyntheticSource

BATCH = 8192


@dataclass(frozen=True)
class Recovery:
    """What an SAE found of planted features.

    Latents and true features are paired one to one so that the sum of |cosine| between dictionary rows and true directions is largest
    (Hungarian matching). A latent is on where its code is not zero.

    - `mcc` (higher is better): mean |cosine| of the pairs, of which there are as many as the smaller of the two sets holds.
    - `uniqueness` (higher is better): number of true features that are nearest to some latent, as a share of the latents. With fewer
      features than latents it cannot reach 1.
    - `precision`, `recall`, `f1` (higher is better): of a feature's latent as a detector of the feature, mean over the features that are
      on in some row. A feature without a latent counts 0, and so does 0 / 0.
    - `parent_f1`, `child_f1`: the same over parents and over children; NaN where there are none.
    - `absorption`, `absorbed_frac` (lower is better), `parents_found` (higher is better): see `Absorption`; NaN without a hierarchy.
    - `rows`: rows measured.
    """

    mcc: float
    uniqueness: float
    precision: float
    recall: float
    f1: float
    parent_f1: float
    child_f1: float
    absorption: float
    absorbed_frac: float
    parents_found: float
    rows: int

    def as_dict(self) -> dict[str, float]:
        """Returns the measurements by name."""
        return asdict(self)


@dataclass(frozen=True)
class Pairs:
    """Latents paired with true features, one to one: `latent[i]` with `feature[i]`, at |cosine| `cosine[i]`."""

    latent: Int[Tensor, " pair"]
    feature: Int[Tensor, " pair"]
    cosine: Float[Tensor, " pair"]

    def latent_of(self, features: int) -> Int[Tensor, " feature"]:
        """Returns the latent of every feature, -1 where it has none."""
        found = torch.full((features,), -1)
        found[self.feature] = self.latent
        return found


class Detection:
    """Counts how often latents and features are on together, pair by pair."""

    def __init__(self, latent: Int[Tensor, " pair"], feature: Int[Tensor, " pair"]):
        self.latent, self.feature = latent, feature
        self.both, self.claimed, self.true = (torch.zeros(len(latent), dtype=torch.float64) for _ in range(3))

    def add(self, on: Bool[Tensor, "batch latent"], truth: Bool[Tensor, "batch feature"]) -> None:
        """Counts a batch."""
        claimed, true = on[:, self.latent], truth[:, self.feature]
        self.both += (claimed & true).sum(0)
        self.claimed += claimed.sum(0)
        self.true += true.sum(0)

    @property
    def precision(self) -> Float[Tensor, " pair"]:
        """Share of the rows with the latent on in which the feature is on (0 where the latent is never on)."""
        return self.both / self.claimed.clamp(min=1)

    @property
    def recall(self) -> Float[Tensor, " pair"]:
        """Share of the rows with the feature on in which the latent is on (0 where the feature is never on)."""
        return self.both / self.true.clamp(min=1)

    @property
    def f1(self) -> Float[Tensor, " pair"]:
        """Harmonic mean of precision and recall (0 where both are)."""
        return 2 * self.both / (self.claimed + self.true).clamp(min=1)


def pair_up(rows: Float[Tensor, "latent model"], truth: Float[Tensor, "feature model"]) -> Pairs:
    """Pairs dictionary rows with true directions so that the sum of |cosine| is largest; ties fall as the solver breaks them."""
    cosines = _cosines(rows, truth)
    latent, feature = linear_sum_assignment(cosines.numpy(), maximize=True)
    found = torch.from_numpy(latent), torch.from_numpy(feature)
    return Pairs(*found, cosines[found])


def uniqueness(rows: Float[Tensor, "latent model"], truth: Float[Tensor, "feature model"]) -> float:
    """Returns the number of directions that are nearest to some dictionary row, by |cosine|, as a share of the rows."""
    return len(_cosines(rows, truth).argmax(1).unique()) / len(rows)


@torch.no_grad()
def recovery_of(sae: SAE, spec: SyntheticSource, split: Split = "validate") -> Recovery:
    """Measures a trained SAE against the features its rows were made of.

    Args:
        sae: an SAE of any graph whose outputs are sums of dictionary rows, trained on `spec`.
        spec: the synthetic source.
        split: whose rows.

    Raises:
        DataError: the SAE rebuilds something else than this source's rows, or its weights are not finite.
    """
    views = _views(sae, spec)
    truth = torch.cat([views[target] for target in sae.graph.outputs], -1).double()
    dictionary = _raw_dictionary(sae)
    if not dictionary.isfinite().all():
        raise DataError("dictionary rows must be finite to be paired with true directions; this SAE's hold NaN or infinity")
    pairs = pair_up(dictionary, truth)
    detection = Detection(pairs.latent, pairs.feature)
    tree = parents_of(spec)
    families = FamilyCounts(dictionary, truth * mean_strength(spec)[:, None], tree, pairs.latent_of(len(truth)))
    total = spec.rows if split == "train" else spec.eval_rows
    ever = torch.zeros(len(truth), dtype=torch.bool)
    like, read = next(sae.parameters()), inputs_of(sae)
    for start in range(0, total, BATCH):
        true = codes(spec, split, start, min(BATCH, total - start))
        code = sae.encode({name: (true @ views[name]).to(like) for name in read}).cpu()
        detection.add(code != 0, true != 0)
        families.add(code, true != 0)
        ever |= (true != 0).any(0)
    counted = {"": ever, "parent_": ever & _is_parent(tree), "child_": ever & (tree >= 0)}
    means = {name: _mean(getattr(detection, name), pairs, ever) for name in ("precision", "recall")}
    means |= {f"{who}f1": _mean(detection.f1, pairs, among) for who, among in counted.items()}
    unique = uniqueness(dictionary, truth)
    return Recovery(mcc=float(pairs.cosine.mean()), uniqueness=unique, rows=total, **means, **asdict(families.measured()))


def _views(sae: SAE, spec: SyntheticSource) -> dict[str, Float[Tensor, "feature model"]]:
    """Returns the true directions by name of the source's views.

    Raises:
        DataError: the SAE is not of this source.
    """
    names = ["x"] if spec.hooks == 1 else [f"view.{number}" for number in range(spec.hooks)]
    used = {*inputs_of(sae), *sae.graph.outputs}
    if not used <= set(names) or sae.graph.model != spec.model:
        what = f"got an SAE of width {sae.graph.model} that reads or rebuilds {', '.join(sorted(used))}"
        raise DataError(f"an SAE must be of this source's rows, of width {spec.model} and named {', '.join(names)}; {what}")
    return {name: directions(spec, number) for number, name in enumerate(names)}


def _raw_dictionary(sae: SAE) -> Float[Tensor, "latent all"]:
    """Returns the dictionary in the units of the activations, so that several targets stand in the proportion their rows have."""
    parts = by_target(sae, dictionary_of(sae))
    zero = {name: torch.zeros_like(part[:1]) for name, part in parts.items()}
    raw, origin = sae.unscale(parts), sae.unscale(zero)
    return torch.cat([raw[name] - origin[name] for name in parts], -1).double().cpu()


def _is_parent(tree: Int[Tensor, " feature"]) -> Bool[Tensor, " feature"]:
    found = torch.zeros(len(tree), dtype=torch.bool)
    found[tree[tree >= 0]] = True
    return found


def _mean(values: Float[Tensor, " pair"], pairs: Pairs, among: Bool[Tensor, " feature"]) -> float:
    """Returns the mean over features, 0 for those without a latent."""
    spread = torch.zeros(len(among), dtype=torch.float64)
    spread[pairs.feature] = values
    return float(spread[among].mean())


def _cosines(rows: Tensor, truth: Tensor) -> Float[Tensor, "latent feature"]:
    """Returns |cosine| of every pair; 0 for a row of zeros."""
    unit = [torch.nn.functional.normalize(values.double(), dim=-1) for values in (rows, truth)]
    return (unit[0] @ unit[1].T).abs().cpu()
