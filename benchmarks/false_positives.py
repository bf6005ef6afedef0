"""How often does a search with nothing to find end in a confirmed finding? `python -m benchmarks.false_positives` tries it.

Invented studies: structures with curves of log FVU over L0, seed noise of the size measured in studies/gates, and L0s that miss those asked
for as its recipes do. A search sees one seed of each and puts the best on its front; `confirm` draws fresh seeds for them and for the
baselines, and judges. Choosing and judging are the package's own code; only training is invented. Writes false_positives.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from archsearch.evaluation.curves import area
from archsearch.evaluation.verdicts import BETTER, WORSE, Question, judged
from archsearch.search.contenders import Contender, contenders_of
from archsearch.search.judging import Curves, Judgement, below_best, judge
from archsearch.search.records import StudyRecord, TrialRecord

HERE = Path(__file__).parent
GATES = HERE.parent / "studies" / "gates" / "results.json"

BAND = (4.0, 80.0)
LEVELS = (8, 16, 32, 64)
STRUCTURES, BASELINES, BASELINE_ASKS, BEST, SEEDS = 24, 2, 2, 3, 5

CURVES = {
    "topk": ((5, 0.3187), (6, 0.2995), (8, 0.2706), (10, 0.2495), (12, 0.2333), (16, 0.207), (20, 0.1874), (24, 0.1713), (32, 0.1443),
             (40, 0.1161), (48, 0.0904), (56, 0.069), (64, 0.0465), (80, 0.0211)),
    "gated": ((4.91, 0.3237), (6.07, 0.3006), (8.17, 0.2695), (10, 0.2457), (12, 0.2273), (16.3, 0.1983), (20.2, 0.178), (24.4, 0.1607),
              (32.7, 0.1357), (41.1, 0.1156), (49.4, 0.1011), (57.8, 0.0866), (66, 0.0761), (83.1, 0.057)),
    "relu_l1": ((4.5, 0.484), (5.3, 0.4502), (8.2, 0.3694), (10.4, 0.3304), (12.6, 0.3005), (15.9, 0.272), (19.6, 0.2475), (23.3, 0.2274),
                (31.5, 0.1926), (39.8, 0.1673), (47.8, 0.1486), (55.4, 0.133), (63.8, 0.1187), (80.3, 0.095)),
}  # fmt: skip
"""L0 and FVU of recipes asked for many L0s, one seed each (bundled model, width 512, 256,000 tokens in batches of 256): how curves bend."""


@dataclass(frozen=True)
class Noise:
    """What seeds do to log FVU, as standard deviations.

    `level`: of one run about its recipe's mean at each of `LEVELS`, at that mean's L0 (0.008, 0.007, 0.005, 0.009); `seed`: the part common
    to all recipes of a seed (0.0014); `recipe`: that common to all levels of a recipe and seed (0.0014); `l0`: of log L0 (0.03);
    `reached`: log of the mean L0 over that asked for, by recipe and level (up to 0.06).
    """

    level: tuple[float, ...]
    seed: float
    recipe: float
    l0: float
    reached: tuple[tuple[float, ...], ...]


@cache
def noise() -> Noise:
    """Returns the noise of studies/gates: recipes that reached every L0 with every seed."""
    runs = json.loads(GATES.read_text(encoding="utf-8"))["runs"]
    values: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(run["recipe"] for run in runs):
        found = {
            (run["asked"], run["seed"]): (math.log(run["l0"] / run["asked"]), math.log(run["fvu"])) for run in runs if run["recipe"] == name
        }
        seeds = sorted({seed for _, seed in found})
        grid = np.array([[found[level, seed] for seed in seeds] for level in LEVELS])  # level, seed, (L0, FVU)
        if np.abs(grid[..., 0]).max() < 0.2:
            values[name] = grid
    both = np.stack(list(values.values()))
    left = both - both.mean(2, keepdims=True)
    left[..., 1] -= _slope(both) * left[..., 0]  # FVU at the mean L0
    free = both.shape[2] - 1
    fvu = left[..., 1]
    level = np.sqrt((fvu**2).sum(2).mean(0) / free)
    across = np.einsum("als,bms->ablm", fvu, fvu) / free
    recipes, levels = np.eye(len(both), dtype=bool), np.eye(len(LEVELS), dtype=bool)
    common = across[~recipes].mean()
    own = across[recipes][:, ~levels].mean() - common
    l0 = math.sqrt((left[..., 0] ** 2).sum(2).mean() / free)
    reached = tuple(tuple(float(value) for value in grid[..., 0].mean(1)) for grid in values.values())
    return Noise(tuple(map(float, level)), math.sqrt(max(common, 0.0)), math.sqrt(max(own, 0.0)), l0, reached)


def _slope(both: np.ndarray) -> np.ndarray:
    """Returns how log FVU falls with log L0 at each level: by recipe and level."""
    x = both[..., 0].mean(2) + np.log(LEVELS)
    return np.stack([np.gradient(fvu, l0) for l0, fvu in zip(x, both[..., 1].mean(2), strict=True)])[..., None]


@cache
def curve(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns log FVU over log L0, smooth through the points of `CURVES`."""
    l0, fvu = np.log(np.array(CURVES[name])).T
    terms = np.polyfit(l0 - 3, fvu, 6 if name == "topk" else 4)
    return lambda x: np.polyval(terms, x - 3)


@dataclass(frozen=True)
class World:
    """A space of structures that are all equal but the first, which is better by `planted` (in log FVU).

    `sweep`: which L0s structures are measured at: `l0`, those asked for, missed as recipes miss them; `weights`, four an octave apart from
    wherever they begin; `few`: three, further apart.
    """

    curve: str = "gated"
    sweep: str = "l0"
    planted: float = 0.0

    def places(self, chance: np.random.Generator) -> np.ndarray:
        """Returns the mean log L0 of a structure's levels."""
        if self.sweep == "l0":
            reached = noise().reached
            return np.log(LEVELS) + np.array(reached[chance.integers(len(reached))])
        count, gap = (4, 1.0) if self.sweep == "weights" else (3, 4 / 3)
        octaves = gap * (chance.uniform() + np.arange(count)) + chance.normal(0, 0.1, count)
        return np.log(4.2) + math.log(2) * np.sort(octaves)

    def runs(self, places: np.ndarray, better: float, seed: float, chance: np.random.Generator) -> list[tuple[float, float]]:
        """Returns L0 and FVU of a structure's levels with one seed; `seed`: what it does to all structures."""
        told = noise()
        l0 = places + chance.normal(0, told.l0, len(places))
        rest = np.interp(l0, np.log(LEVELS), told.level) ** 2 - told.seed**2 - told.recipe**2
        own = chance.normal(0, told.recipe) + chance.normal(0, 1, len(l0)) * np.sqrt(np.maximum(rest, 0.0))
        fvu = curve(self.curve)(l0) - better + seed + own
        return [(float(a), float(b)) for a, b in zip(np.exp(l0), np.exp(fvu), strict=True)]


@dataclass(frozen=True)
class Outcome:
    """One invented study: whether the better structure was chosen, what was judged, and what was promised of the first candidate.

    `shown` and `truth`: difference of log FVU to the best baseline, in the search and with fresh seeds; `straight`: whether anything false
    would be found if straight lines in log FVU joined the points, and nothing were allowed for it.
    """

    chosen: bool
    judgement: Judgement
    planted: str
    shown: float | None = None
    truth: float | None = None
    straight: bool = False

    @property
    def false(self) -> bool:
        """Whether anything is called better or worse that is not."""
        return any(
            verdict.verdict == WORSE or (verdict.verdict == BETTER and verdict.candidate != self.planted)
            for verdict in self.judgement.verdicts
        )

    @property
    def found(self) -> bool:
        """Whether the better structure is called better somewhere."""
        return any(verdict.verdict == BETTER and verdict.candidate == self.planted for verdict in self.judgement.verdicts)


def study(world: World, chance: np.random.Generator, structures: int = STRUCTURES) -> Outcome:
    """Invents a study, chooses from its front and judges."""
    asks = BASELINES * BASELINE_ASKS
    places = [world.places(chance) for _ in range(asks + structures)]
    better = [world.planted if ask == asks else 0.0 for ask in range(asks + structures)]
    common = chance.normal(0, noise().seed)
    trials: list[TrialRecord] = []
    for ask, (place, by) in enumerate(zip(places, better, strict=True)):
        name = f"baseline {ask // BASELINE_ASKS}" if ask < asks else None
        found = world.runs(place, by, common, chance)
        trials += [_trial(len(trials) + level, ask, level, name, *point) for level, point in enumerate(found)]
    record = StudyRecord("invented", "", {}, ("l0", "fvu"), BAND, trials, len(trials), "done")
    chosen = contenders_of(record, BEST)
    rows: dict[str, list[dict[str, Any]]] = {one.name: [] for one in chosen.all}
    for seed in range(SEEDS):
        common = chance.normal(0, noise().seed)
        for one in chosen.all:
            found = sorted(world.runs(places[one.ask], better[one.ask], common, chance))
            rows[one.name] += [{"seed": seed, "level": level, "l0": l0, "fvu": fvu} for level, (l0, fvu) in enumerate(found)]
    curves = {one.name: Curves.of(one.name, one.baseline, rows[one.name]) for one in chosen.all}
    planted = next((one.name for one in chosen.candidates if one.ask == asks and world.planted), "")
    shown, truth = _promise(chosen.candidates[0], chosen.baselines, curves)
    judgement = judge(list(curves.values()), BAND)
    return Outcome(bool(planted), judgement, planted, shown, truth, _straight(judgement, curves, planted))


def _straight(judgement: Judgement, curves: dict[str, Curves], planted: str) -> bool:
    questions = []
    for verdict in judgement.verdicts:
        pair = [curves[name].by_seed for name in (verdict.candidate, verdict.baseline)]
        low = max(verdict.band[0], *(one[seed][0][0] for one in pair for seed in one))
        high = min(verdict.band[1], *(one[seed][-1][0] for one in pair for seed in one))
        areas = [(area(pair[0][seed], low, high), area(pair[1][seed], low, high)) for seed in pair[0]] if verdict.seeds else []
        differences = tuple(mine - other for mine, other in areas if mine is not None and other is not None)
        questions.append(Question(verdict.candidate, verdict.baseline, verdict.band, differences))
    return any(one.verdict == WORSE or (one.verdict == BETTER and one.candidate != planted) for one in judged(questions))


def _trial(number: int, ask: int, level: int, baseline: str | None, l0: float, fvu: float) -> TrialRecord:
    found, spec = {"l0": l0, "fvu": fvu}, {"graph": {}, "training": {}}
    return TrialRecord(number, ask, level, "complete", spec, {}, f"structure {ask}", f"a{ask}", f"r{number}", baseline, found)


def _promise(best: Contender, baselines: tuple[Contender, ...], fresh: dict[str, Curves]) -> tuple[float | None, float | None]:
    before = {one.name: Curves.of(one.name, one.baseline, list(_searched(one))) for one in (best, *baselines)}
    l0 = best.best.measurements["l0"] if best.best else math.nan
    told = [below_best(there[best.name], [there[one.name] for one in baselines], l0) for there in (before, fresh)]
    shown, truth = (None if one is None else one[1].mean for one in told)
    return shown, truth


def _searched(contender: Contender) -> Iterator[dict[str, Any]]:
    for level, trial in enumerate(contender.trials):
        yield {"seed": 0, "level": level, **trial.measurements}


def tried(world: World, count: int, seed: int = 0, structures: int = STRUCTURES) -> dict[str, Any]:
    """Returns shares over `count` invented studies, each with its exact 95% interval, and the mean promise beside what fresh seeds give."""
    outcomes = [study(world, np.random.default_rng([seed, index]), structures) for index in range(count)]
    pairs = [(one.shown, one.truth) for one in outcomes if one.shown is not None and one.truth is not None]
    told: dict[str, Any] = {"curve": world.curve, "sweep": world.sweep, "planted_percent": round(100 * math.expm1(-world.planted), 2) + 0.0}
    told |= {"studies": count, "comparisons": round(float(np.mean([len(one.judgement.verdicts) for one in outcomes])), 1)}
    told |= {"any_false": share([one.false for one in outcomes]), "any_false_by_straight_lines": share([one.straight for one in outcomes])}
    if world.planted:
        told |= {"chosen": share([one.chosen for one in outcomes]), "found": share([one.found for one in outcomes])}
    shown, truth = (100 * math.expm1(float(np.mean(values))) for values in zip(*pairs, strict=True)) if pairs else (math.nan, math.nan)
    return {**told, "first_candidate_percent": {"in_the_search": round(shown, 2), "with_fresh_seeds": round(truth, 2)}}


def share(hits: list[bool]) -> dict[str, float]:
    """Returns a share with its exact (Clopper-Pearson) 95% interval."""
    told = stats.binomtest(sum(hits), len(hits)).proportion_ci(0.95)
    return {"share": round(sum(hits) / len(hits), 4), "low": round(float(told.low), 4), "high": round(float(told.high), 4)}


NULLS = (("l0", 1000), ("weights", 300), ("few", 300))
PLANTED = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05)


def main() -> None:
    """Runs everything, writes false_positives.json, and prints a line for each world."""
    told: dict[str, Any] = {
        "noise": {name: value for name, value in vars(noise()).items() if name != "reached"},
        "nulls": [],
        "planted": [],
    }
    for sweep, count in NULLS:
        for name in CURVES:
            told["nulls"].append(tried(World(name, sweep), count))
            print(json.dumps(told["nulls"][-1]), flush=True)
    for planted in PLANTED:
        told["planted"].append(tried(World("gated", "l0", -math.log1p(-planted)), 1000 if planted == 0.05 else 300))
        print(json.dumps(told["planted"][-1]), flush=True)
    (HERE / "false_positives.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
