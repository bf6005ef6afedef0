"""From a space to trials: structures, each at several sparsity levels."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.assembler.words import in_words
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.search.provenance import NUMERICS
from archsearch.search.tables import TrialRow
from archsearch.spec.hashes import digest
from archsearch.spec.holes import ChoiceHole, FloatHole, IntHole, Primitive, ValueHole
from archsearch.spec.inputs import bound
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import TARGET, StudySpec, at_levels
from archsearch.spec.template import Filled, Template

SPREAD = 3.0
"""How far a sweep over a penalty's weight goes from the recipe's value, as a factor each way."""


@dataclass(frozen=True)
class Setting:
    """What every trial of a study shares besides its spec."""

    model: int
    fingerprint: str
    precision: str


@dataclass
class Draft:
    """A trial before it is written: its place in the study, its document, and the parameters that made it."""

    ask: int
    level: int
    document: dict[str, Any]
    params: dict[str, Any]
    baseline: str | None = None
    optuna_number: int | None = None

    def row(self, number: int, setting: Setting) -> TrialRow:
        """Returns the trial's row: assembled on the meta device, hashed, worded.

        Raises:
            InvalidInput: the document is no legal spec.
        """
        spec = parse(self.document)
        assembly = assemble(spec, model=setting.model, device="meta")
        return TrialRow(
            number=number,
            optuna_number=self.optuna_number,
            ask=self.ask,
            level=self.level,
            baseline=self.baseline,
            spec=resolved(assembly),
            params=self.params,
            receipt=assembly.receipt.as_dict(),
            words=in_words(spec.model_dump(mode="json", by_alias=True)),  # as built: a requested L0 has become settings
            arch=assembly.receipt.arch,
            run=run_hash(spec, assembly, setting),
            history=[],
        )


def run_hash(spec: Any, assembly: Assembly, setting: Setting) -> str:
    """Returns the hash a trajectory is a function of: architecture, training, data, precision, numerics version and seed."""
    dumped = spec.model_dump(mode="json", by_alias=True)
    training = {name: dumped[name] for name in ("init", "revival", "scale", "training")}
    training |= {name: dumped[name] for name in ("controller", "calibration") if dumped[name] is not None}
    data = {"data": setting.fingerprint, "precision": setting.precision, "numerics": NUMERICS, "model": setting.model}
    own = {kind: told["sha256"] for kind, told in catalogue().foreign.items() if kind in _kinds(dumped)}
    return digest({"arch": assembly.receipt.arch, **training, **data, **({"blocks": own} if own else {})})


def _kinds(node: Any) -> set[str]:
    """Returns every kind named in a document."""
    if isinstance(node, dict):
        own = {node["kind"]} if isinstance(node.get("kind"), str) else set()
        return own.union(*map(_kinds, node.values()))
    return set().union(*map(_kinds, node)) if isinstance(node, list) else set()


def levels_of(hole: ValueHole, value: Primitive, count: int) -> list[Any]:
    """Returns `count` values of a sparsity hole: `value` first, the others spread evenly over the hole's range from there.

    On the hole's own scale (log or linear; places in the list for a choice of numbers) the range is a circle, and each value lies a
    `count`-th of it further than the one before, so that whatever the sampler suggests, the levels cover the range. Values that fall
    together are told once; a choice of words has no order to go along, and keeps its one value.
    """
    if isinstance(hole, ChoiceHole) and _numeric(hole):
        places, here = len(hole.values), hole.values.index(value)
        return [hole.values[place] for place in dict.fromkeys((here + index * places // count) % places for index in range(count))]
    if not isinstance(hole, (FloatHole, IntHole)) or not isinstance(value, (int, float)):
        return [value]
    low, high = (math.log(edge) if hole.log else float(edge) for edge in (hole.low, hole.high))
    here = ((math.log(value) if hole.log else value) - low) / (high - low)
    found: list[Any] = [value]
    for index in range(1, count):
        place = low + ((here + index / count) % 1.0) * (high - low)
        raw = math.exp(place) if hole.log else place
        other = min(max(round(raw) if isinstance(hole, IntHole) else float(f"{raw:.3g}"), hole.low), hole.high)
        if other not in found:
            found.append(other)
    return found


def _numeric(hole: ChoiceHole) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in hole.values)


class Draw:
    """Suggests values by itself: the middle of every hole at first (`index` 0), then at random from (seed, name, index)."""

    def __init__(self, seed: int, index: int, fixed: dict[str, Any]):
        self.seed, self.index, self.fixed = seed, index, fixed

    def _place(self, name: str) -> float:
        return 0.5 if self.index == 0 else (seed_of("draw", self.seed, name, self.index) % 10**9) / 1e9

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Returns a number of the range."""
        if name in self.fixed:
            return self.fixed[name]
        place = self._place(name)
        return math.exp(math.log(low) + place * math.log(high / low)) if log else low + place * (high - low)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Returns a whole number of the range."""
        return self.fixed[name] if name in self.fixed else round(self.suggest_float(name, low, high, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Returns one of the choices."""
        if name in self.fixed:
            return self.fixed[name]
        return choices[0] if self.index == 0 else choices[seed_of("draw", self.seed, name, self.index) % len(choices)]


def fitted(tree: dict[str, Any], sae: dict[str, Any]) -> dict[str, Any]:
    """Returns a baseline's tree with the width, inputs, tokens, batch and learning rates of the space it is compared in."""
    inputs = sae.get("inputs")
    tree = bound(tree, inputs) if isinstance(inputs, list) else tree
    training = {**tree.get("training", {})}
    rate = _rate(sae)
    if rate is not None and isinstance(training.get("optimizer"), dict):
        training["optimizer"] = {**training["optimizer"], "lr": rate}
    training |= {name: sae["training"][name] for name in ("tokens", "batch", "seed", "data_seed") if name in sae.get("training", {})}
    return {**tree, "training": training, **{name: sae[name] for name in ("width", "inputs") if name in sae}}


def _rate(sae: dict[str, Any]) -> Any:
    """Returns the learning rate a space gives its own SAEs, a number or a hole."""
    optimizer = sae.get("training", {}).get("optimizer")
    return optimizer.get("lr") if isinstance(optimizer, dict) else None


def opened(tree: dict[str, Any], blocks: Catalogue, study: StudySpec) -> dict[str, Any]:
    """Returns a recipe with holes at its sparsity setting and its learning rate, so that it is swept and tuned like any family.

    Where the sweep is over L0, or several settings move sparsity, its target is opened; else a count (`k`) over the band, and a weight from
    `SPREAD` times less to `SPREAD` times more than the recipe's, on a log scale. What is a hole already is left as it is.
    """
    tree = at_levels(copy.deepcopy(tree), study)
    found: dict[tuple[str, str, str], Any] = {}
    for part in () if study.l0 else ("graph", "losses"):
        for label, block in tree.get(part, {}).items():
            tree[part][label] = block = {"kind": block} if isinstance(block, str) else block
            field = blocks.sparsity.get(block.get("kind", ""))
            value = block.get(field, blocks[block["kind"]].Spec.model_fields[field].default) if field else None
            if field and isinstance(value, (int, float)):
                found[part, label, field] = value
    if len(found) > 1:  # settings that move sparsity only together: the L0 they are to reach is opened instead
        tree[TARGET] = _hole(1, study.band)
    else:
        for (part, label, field), value in found.items():
            tree[part][label] = {**tree[part][label], field: _hole(value, study.band)}
    optimizer = tree.get("training", {}).get("optimizer")
    if isinstance(optimizer, dict) and isinstance(optimizer.get("lr"), float):
        optimizer["lr"] = {"float": [optimizer["lr"] / 3, optimizer["lr"] * 3], "log": True}
    return tree


def _hole(value: Any, band: tuple[float, float]) -> dict[str, Any]:
    if isinstance(value, int):
        return {"int": [max(round(band[0]), 1), round(band[1])], "log": True}
    return {"float": [value / SPREAD, value * SPREAD], "log": True}


def baseline_drafts(name: str, template: Template, hole: str | None, ask: int, index: int, sweep: int, seed: int) -> list[Draft]:
    """Returns one tuning draw of a baseline, swept over its sparsity hole."""
    middle = template.fill(Draw(seed, index, {}))
    if hole is None:
        return [Draft(ask, 0, middle.document, {}, name)]
    parameter = template.parameters()[hole].hole
    # Half a stratum from the lower end, so that levels never sit on the edge of the range.
    values = levels_of(parameter, _lowest(parameter, sweep), sweep)
    fills: list[Filled] = [template.fill(Draw(seed, index, {hole: value})) for value in sorted(values)]
    return [Draft(ask, level, filled.document, {}, name) for level, filled in enumerate(fills)]


def _lowest(hole: ValueHole, sweep: int) -> Any:
    place = 0.5 / sweep
    if isinstance(hole, ChoiceHole):
        return hole.values[int(place * len(hole.values))]
    raw = hole.low * (hole.high / hole.low) ** place if hole.log else hole.low + place * (hole.high - hole.low)
    return max(round(raw), hole.low) if isinstance(hole, IntHole) else float(f"{raw:.3g}")
