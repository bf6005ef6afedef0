"""Everything of Optuna in one place: samplers, its study, asking and telling.

Private touch points (`Trial(study, id)`, `study._storage`) are kept here; they let a trial that was running when the process died be
finished in place, and be found without reading all others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from archsearch.errors import InvalidInput, nearest
from archsearch.search.priors import EARLY, LATER, around
from archsearch.search.records import HIGHER, as_asked
from archsearch.search.warm_start import Evidence
from archsearch.spec.holes import ChoiceHole, IntHole, ValueHole
from archsearch.spec.seeds import seed_of
from archsearch.spec.template import Parameter

EVOLUTION = "evolution"
"""The sampler that proposes graphs, not values of holes; Optuna is only told of them."""

REFINING = "gp"
"""The sampler that models structures by their curves; Optuna is told what it picks."""

PROPOSED = (EVOLUTION, REFINING)
"""Samplers whose proposals come from elsewhere; what they leave open is drawn at random."""

SAMPLERS = ("tpe", REFINING, "nsga2", "random", EVOLUTION)

STARTUP = 10
"""Trials drawn at random before TPE has enough to learn from, each sparsity level counting as one (count)."""

GENERATION = 50
"""Trials of a generation of NSGA-II, the first being drawn at random (count)."""

ILLEGAL_DRAW = "archsearch:illegal"
"""User attribute of a draw that was no legal SAE: why."""

ORIGIN = "archsearch:from"
"""User attribute of a trial that another study ran: which one, and its number there."""

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def make_sampler(kind: str, *seed: str | int) -> BaseSampler:
    """Returns a fresh sampler seeded from `seed`: one for every ask, so that a resumed study asks what it would have asked.

    Raises:
        InvalidInput: an unknown kind.
    """
    number = seed_of("sampler", *seed) % 2**32
    if kind == "tpe":
        with warnings.catch_warnings():
            # `group` is marked experimental; it is what models conditional spaces.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP, seed=number)
    if kind == "nsga2":
        return NSGAIISampler(population_size=GENERATION, seed=number)
    if kind in ("random", *PROPOSED):
        return RandomSampler(seed=number)
    raise InvalidInput([f"unknown sampler {kind!r}; {nearest(kind, SAMPLERS)}"])


class _Given(BaseSampler):
    """Gives parameters their known value; under NSGA-II the trial is written into the generation that is being filled."""

    def __init__(self, params: Mapping[str, Any], around: BaseSampler):
        self._params, self._around = params, around

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if isinstance(self._around, NSGAIISampler):
            self._around.get_trial_generation(study, trial)  # notes the generation with the trial

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._params[param_name]


class _Partly(_Given):
    """Gives some parameters their known value, and leaves the others to another sampler."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        space = self._around.infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in space.items() if name not in self._params}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if not search_space:
            return super().sample_relative(study, trial, search_space)
        return self._around.sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        if param_name in self._params:
            return self._params[param_name]
        return self._around.sample_independent(study, trial, param_name, param_distribution)


@dataclass(frozen=True)
class Opening:
    """How a search begins.

    `first`: number of its first ask, those before it being baselines; `asks`: what its first structures are; `priors`: holes that are drawn
    around what their author expects, by name.
    """

    first: int = 0
    asks: tuple[Mapping[str, Any], ...] = ()
    priors: Mapping[str, ValueHole] = field(default_factory=dict)

    def decides(self, number: int) -> bool:
        """Tells whether it says what that ask is, so that nothing else may be put in its place."""
        return 0 <= number - self.first < len(self.asks) + (1 if self.priors else 0)


class Sampling:
    """Optuna's side of a study; baselines stand in a study of their own beside it, where no sampler takes them for examples.

    `holes`: what the space leaves open, by name; `levels`: the L0s SAEs are asked for, if they are.
    """

    def __init__(
        self,
        url: str,
        name: str,
        kind: str,
        seed: int,
        objectives: tuple[str, ...],
        band: tuple[float, float],
        opening: Opening | None = None,
        holes: Mapping[str, Parameter] | None = None,
        levels: Sequence[float] = (),
    ):
        self.name, self.kind, self.seed, self.objectives, self.band = name, kind, seed, objectives, band
        self.holes, self.levels = holes or {}, levels
        self.opening = opening or Opening()
        engine = {"connect_args": {"timeout": 60}}
        self.storage = optuna.storages.get_storage(optuna.storages.RDBStorage(url, engine_kwargs=engine))
        self.study = self._study(name)
        self._baselines: optuna.Study | None = None
        self._added: set[int] = set()

    def _study(self, name: str) -> optuna.Study:
        directions = [StudyDirection.MINIMIZE] * len(self.objectives)
        study = optuna.create_study(storage=self.storage, study_name=name, directions=directions, load_if_exists=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["log2 " + name if name == "l0" else name for name in self.objectives])
        return study

    def ask(self, number: int, randomly: bool = False, attempt: int = 0, picked: Mapping[str, Any] | None = None) -> Trial:
        """Returns a new trial; `number` counts asks and `attempt` tries of one; with the study's seed they decide what is drawn.

        `picked`: a value for every hole, by who proposes in the sampler's place; what is expected of a hole goes before it.
        """
        place = number - self.opening.first
        if attempt == 0 and 0 <= place < len(self.opening.asks):
            return self.ask_fixed(self.opening.asks[place])
        again = (attempt,) if attempt else ()
        sampler = make_sampler("random" if randomly else self.kind, self.seed, number, *again)
        sampler = _Given(picked, sampler) if picked is not None else sampler
        expected = {} if randomly else self._expected(number, attempt)
        self.study.sampler = _Partly(expected, sampler) if expected else sampler
        return self.study.ask()

    def _expected(self, number: int, attempt: int) -> dict[str, Any]:
        """Returns values of the holes with a prior, in the asks that heed them."""
        priors, place = self.opening.priors, number - self.opening.first - len(self.opening.asks)
        if not priors:
            return {}
        if place == 0 and attempt == 0:
            return {name: hole.prior[0] for name, hole in priors.items()}
        if self.kind != "random":
            ended = len(self.study.get_trials(deepcopy=False, states=_ENDED))
            if place % (EARLY if ended < STARTUP else LATER):
                return {}
        return {name: around(hole, name, self.seed, number, attempt) for name, hole in priors.items()}

    def ask_fixed(self, params: Mapping[str, Any]) -> Trial:
        """Returns a new trial whose parameters are given; never queued, so that a crash leaves nothing waiting.

        It is written with all of them at once: Optuna writes each parameter by itself as it is suggested.
        """
        self.study.sampler = _Given(params, make_sampler(self.kind, self.seed))
        distributions = {name: distribution(self.holes[name].hole) for name in params}
        made = create_trial(state=TrialState.RUNNING, params=dict(params), distributions=distributions)
        return Trial(self.study, self.storage.create_new_trial(self.study._study_id, made))

    def tell(self, number: int, measurements: dict[str, float] | None, attributes: dict[str, Any]) -> None:
        """Tells the outcome of a trial asked before: measurements, or None for one that failed."""
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        trial = self.storage.get_trial(trial_id)
        if trial.state.is_finished():
            return
        self.study.sampler = RandomSampler()  # to open a trial again is no business of the sampler that drew another
        open_trial = Trial(self.study, trial_id)
        for name, value in attributes.items():
            open_trial.set_user_attr(name, value)
        if measurements is None:
            self.study.tell(number, state=TrialState.PRUNED)  # not FAIL: a sampler should learn to avoid it
            return
        for name, value in self._constraints(measurements).items():
            if name not in trial.constraints:
                open_trial.set_constraint(name, value)
        self.study.tell(number, self.values(measurements))

    def add(self, number: int, measurements: dict[str, float], attributes: dict[str, Any]) -> None:
        """Adds a baseline's trial, `number` in the ledger, to the baselines' study, unless it is there."""
        if self._baselines is None:
            self._baselines = self._study(f"{self.name} (baselines)")
            self._added = {trial.user_attrs["archsearch:number"] for trial in self._baselines.get_trials(deepcopy=False)}
        if number in self._added:
            return
        noted = {**attributes, "archsearch:number": number}
        values, constraints = self.values(measurements), self._constraints(measurements)
        self._baselines.add_trial(create_trial(values=values, user_attrs=noted, constraints=constraints))
        self._added.add(number)

    def add_evidence(self, found: Iterable[Evidence], origin: str) -> None:
        """Adds what trials of another study, `origin`, came to; those that are there already are left out."""
        known = {trial.user_attrs.get(ORIGIN) for trial in self.study.get_trials(deepcopy=False)}
        for one in found:
            mark = f"{origin}:{one.number}"
            if mark in known:
                continue
            # NSGA-II looks at trials of some generation only; what came before the study is its first.
            tag = {NSGAIISampler._get_generation_key(): 0} if self.kind == "nsga2" else {}
            ended: dict[str, Any] = {"state": TrialState.PRUNED}
            if one.measurements is not None:
                ended = {"values": self.values(one.measurements), "constraints": self._constraints(one.measurements)}
            distributions = {name: distribution(self.holes[name].hole) for name in one.params}
            self.study.add_trial(
                create_trial(params=one.params, distributions=distributions, user_attrs={ORIGIN: mark}, system_attrs=tag, **ended)
            )

    def besides(self, loss: str) -> list[tuple[dict[str, Any], tuple[float, float] | None]]:
        """Returns what it was told besides the study's own trials: their parameters, and effective L0 and `loss` (lower is better).

        None stands for what came to nothing: draws that were illegal, and trials of another study that failed.
        """
        found = list[tuple[dict[str, Any], tuple[float, float] | None]]()
        for trial in self.study.get_trials(deepcopy=False, states=_ENDED):
            if ORIGIN in trial.user_attrs or ILLEGAL_DRAW in trial.user_attrs:
                values = dict(zip(self.objectives, trial.values or (), strict=False))
                inside = values and all(value <= 0 for value in trial.constraints.values())
                found.append((trial.params, (2 ** values["l0"], values[loss] + 1 if loss in HIGHER else values[loss]) if inside else None))
        return found

    def forget(self, numbers: Iterable[int]) -> None:
        """Fails trials that nothing will come of; no sampler learns from them."""
        for number in numbers:
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)  # `Study.tell` refuses a waiting one

    def forget_orphans(self, known: set[int]) -> int:
        """Fails trials that are running or waiting here but were never written to the ledger; returns how many there were."""
        orphans = [t.number for t in self.study.get_trials(deepcopy=False) if not t.state.is_finished() and t.number not in known]
        self.forget(orphans)
        return len(orphans)

    def values(self, measurements: dict[str, float]) -> list[float]:
        """Returns the objectives as they are minimised: effective L0 as log2, what is better when higher with its sign changed.

        An L0 that was asked for and met counts as asked.
        """
        found = []
        for name in self.objectives:
            value = measurements[name]
            if name == "l0":
                found.append(math.log2(max(as_asked(value, self.levels), 2**-10)))
            else:
                found.append(-value if name in HIGHER else value)
        return found

    def _constraints(self, measurements: dict[str, float]) -> dict[str, float]:
        """Returns how far effective L0 lies outside the band, in doublings (at most 0: inside)."""
        level = math.log2(max(measurements["l0"], 2**-10))
        low, high = (math.log2(edge) for edge in self.band)
        return {"band": max(low - level, level - high)}


def distribution(hole: ValueHole) -> BaseDistribution:
    """Returns a hole as Optuna notes it when its value is suggested."""
    if isinstance(hole, ChoiceHole):
        return CategoricalDistribution(hole.values)
    if isinstance(hole, IntHole):
        return IntDistribution(hole.low, hole.high, log=hole.log)
    return FloatDistribution(hole.low, hole.high, log=hole.log)
