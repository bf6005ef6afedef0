"""Refines a search: a Gaussian process over structures, each judged by what its curve holds of the front.

A sampler that is told of trials one by one learns from the few on the front. The curve of a structure, through its levels and the points
its SAEs are cut to, says more: how far behind the front it lies, wherever it comes closest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.trial import create_trial

from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput, Problem
from archsearch.evaluation.curves import Point
from archsearch.search.jobs import Draw
from archsearch.search.records import HIGHER, TrialRecord, as_asked
from archsearch.search.sampler import Sampling, distribution
from archsearch.search.turns import Turns, widest
from archsearch.spec.holes import ChoiceHole, Primitive
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import Space
from archsearch.spec.template import Parameter
from archsearch.spec.yaml import located

FIRST = 3
"""Structures drawn before there is anything to learn from, at least (count)."""

SLACK = 1.25
"""How much worse all others are taken to be, as a factor of their loss, when it is asked what a structure holds of the front."""

PLACES = 128
"""Places of the band at which curves are compared (count)."""

MOST = 200
"""Structures learned from at most: the best half of them, and those that ended last (count)."""

LOSSES = ("fvu", *sorted(HIGHER))
"""Objectives that curves over L0 can be drawn of: losses from 0 to 1, and shares of what is best, of which the loss is the rest."""


@dataclass
class Structure:
    """What is the same in trials at different sparsity levels: values of the other holes. `curve`: loss by effective L0."""

    params: dict[str, Any]
    curve: list[Point] = field(default_factory=list)
    running: bool = False


class Refining:
    """Proposes the structures of a search, whatever branches its space has.

    The first are as many as its widest choice has branches, each of which gets its turn: from fewer, the process may take the branches it
    has seen for all there is. From then on it models all holes at once, but for those swept over: one that a structure does not have stands
    at its middle. It maximises expected improvement of `held`. Failed, stopped and illegal structures hold nothing.
    """

    def __init__(self, space: Space, sampling: Sampling):
        self.space, self.sampling = space, sampling
        self.loss = next(name for name in sampling.objectives if name != "l0")
        self.parameters = space.parameters()
        self.fields = catalogue().sparsity
        self.swept = {hole for filled in space.corners() if (hole := space.sparsity_hole(filled, self.fields))}
        self.modelled = {name: distribution(found.hole) for name, found in self.parameters.items() if name not in self.swept}
        self.first = max(FIRST, widest(space))

    def pick(self, ask: int, known: Iterable[TrialRecord]) -> dict[str, Primitive] | None:
        """Returns a value for every hole of the space; None where there is nothing to learn from, or only what was there is picked.

        Args:
            ask: number of the ask it is for; with the study's seed it decides what is drawn at random.
            known: trials of earlier asks, those that may be in flight as running.
        """
        if self.begins(ask):
            turns = Turns.of(self.space, self.sampling.seed, self._place(ask))
            return {name: parameter.hole.suggest(name, turns) for name, parameter in self.parameters.items()}
        trials = list(known)
        found = self._structures(trial for trial in trials if trial.baseline is None)
        baselines = self._curve(trial for trial in trials if trial.baseline is not None)
        ended = [one for one in found if not one.running]
        if len(ended) < 2 or not self.modelled:
            return None
        judged = list(zip(ended, held([one.curve for one in ended], baselines, self.sampling.band), strict=True))
        if len(judged) > MOST:
            best = sorted(judged, key=lambda pair: -pair[1])[: MOST // 2]
            judged = [*best, *[pair for pair in judged if pair not in best][-MOST // 2 :]]
        seed = seed_of("refining", self.sampling.seed, ask) % 2**32
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.GPSampler(n_startup_trials=1, seed=seed))
        # Optuna's process sees those in training only if it asked for them itself; taken to end like the others, they aren't picked again.
        middling = sum(value for _, value in judged) / len(judged)
        for one, value in [*judged, *((one, middling) for one in found if one.running)]:
            study.add_trial(create_trial(params=self._whole(one), distributions=self.modelled, value=value))
        picked, draw = study.ask(self.modelled).params, Draw(self.sampling.seed, ask + 1, {})
        if any(picked == self._whole(one) for one in found):
            return None
        return {**picked, **{name: self.parameters[name].hole.suggest(name, draw) for name in self.swept}}

    def begins(self, ask: int) -> bool:
        """Tells whether an ask is one of the first, in which branches take turns."""
        return 0 <= self._place(ask) < self.first

    def _place(self, ask: int) -> int:
        return ask - self.sampling.opening.first - len(self.sampling.opening.asks)

    def _structures(self, trials: Iterable[TrialRecord]) -> list[Structure]:
        """Returns what was tried so far, in order: first what the sampler was told besides the study's own trials."""
        found: dict[str, Structure] = {}
        for params, point in self.sampling.besides(self.loss):
            found.setdefault(*self._new(params)).curve += [point] if point else []
        for trial in trials:
            one = found.setdefault(*self._new(trial.params))
            one.curve += self._curve([trial])
            one.running |= trial.state == "running"
        return list(found.values())

    def _new(self, params: Mapping[str, Any]) -> tuple[str, Structure]:
        own = {name: value for name, value in params.items() if name in self.modelled}
        return json.dumps(own, sort_keys=True), Structure(own)

    def _curve(self, trials: Iterable[TrialRecord]) -> list[Point]:
        """Returns what finished trials and their points come to inside the band."""
        low, high = self.sampling.band
        done = (trial for trial in trials if trial.state == "complete")
        told = [found for trial in done for found in (trial.measurements, *(point.measurements for point in trial.points))]
        inside = [one for one in told if low <= one.get("l0", math.nan) <= high and math.isfinite(one.get(self.loss, math.nan))]
        return [(as_asked(one["l0"], self.sampling.levels), loss_of(self.loss, one[self.loss])) for one in inside]

    def _whole(self, one: Structure) -> dict[str, Any]:
        """Returns a value for every hole that is modelled."""
        return {name: one.params.get(name, _middle(name, self.parameters[name])) for name in self.modelled}


def loss_of(name: str, value: float) -> float:
    """Returns an objective as a loss."""
    return 1 - value if name in HIGHER else value


def held(curves: Sequence[Sequence[Point]], others: Sequence[Point], band: tuple[float, float]) -> list[float]:
    """Returns how much of the front each curve would hold, were all others, and the points of `others`, `SLACK` times worse.

    Units: octaves of L0 times loss, as hypervolume has them; at no place more than up to a loss of 1.
    """
    octaves = math.log2(band[1] / band[0])
    places = [band[0] * 2 ** (octaves * (index + 0.5) / PLACES) for index in range(PLACES)]
    losses = np.array([_along(curve, places) for curve in (*curves, others)])
    order = np.argsort(losses, axis=0, kind="stable")
    best, second = (np.take_along_axis(losses, order[index : index + 1], 0)[0] for index in (0, 1))
    rivals = np.where(order[0] == np.arange(len(losses))[:, None], second, best)
    gains = np.clip(np.minimum(SLACK * rivals, 1.0) - losses, 0.0, None).mean(1) * octaves
    return [float(gain) for gain in gains[:-1]]


def _along(curve: Sequence[Point], places: Sequence[float]) -> list[float]:
    """Returns the least loss of a curve at or below each L0, 1 where there is none."""
    found, least, left = list[float](), 1.0, sorted(curve, reverse=True)
    for place in places:
        while left and left[-1][0] <= place:
            least = min(least, left.pop()[1])
        found.append(least)
    return found


def _middle(name: str, parameter: Parameter) -> Primitive:
    hole = parameter.hole
    return hole.values[0] if isinstance(hole, ChoiceHole) else hole.suggest(name, Draw(0, 0, {}))


def refuse_objectives(space: Space) -> None:
    """Refuses a study that is not about L0 and a loss.

    Raises:
        InvalidInput: naming the objectives it has.
    """
    objectives = space.study.objectives
    if len(objectives) != 2 or "l0" not in objectives or not set(objectives) & set(LOSSES):
        what = f"`--sampler gp` judges curves over l0, of {' or '.join(LOSSES)}; here objectives are {', '.join(objectives)}"
        problem = Problem(f"{what}: search with `--sampler tpe`", "study.objectives")
        raise InvalidInput(located([problem], space.source.marks, space.source.file))
