"""Everything of Optuna in one place: samplers, its study, asking and telling.

Private touch points (`Trial(study, id)`, `study._storage`) are kept here; they let a trial that was running when the process died be
finished in place, and be found without reading all others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from archsearch.errors import InvalidInput, nearest
from archsearch.search.records import HIGHER
from archsearch.spec.seeds import seed_of

SAMPLERS = ("tpe", "nsga2", "random")

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
            return TPESampler(multivariate=True, group=True, constant_liar=True, seed=number)
    if kind == "nsga2":
        return NSGAIISampler(seed=number)
    if kind == "random":
        return RandomSampler(seed=number)
    raise InvalidInput([f"unknown sampler {kind!r}; {nearest(kind, SAMPLERS)}"])


class _Given(BaseSampler):
    """Gives every parameter its known value; under NSGA-II the trial is written into the generation that is being filled."""

    def __init__(self, params: dict[str, Any], around: BaseSampler):
        self._params, self._around = params, around

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if isinstance(self._around, NSGAIISampler):
            self._around.get_trial_generation(study, trial)  # notes the generation with the trial
        return {}

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._params[param_name]


class Sampling:
    """Optuna's side of a study; baselines stand in a study of their own beside it, where no sampler takes them for examples."""

    def __init__(self, url: str, name: str, kind: str, seed: int, objectives: tuple[str, ...], band: tuple[float, float]):
        self.name, self.kind, self.seed, self.objectives, self.band = name, kind, seed, objectives, band
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

    def ask(self, number: int, randomly: bool = False, attempt: int = 0) -> Trial:
        """Returns a new trial; `number` counts asks and `attempt` tries of one; with the study's seed they decide what is drawn."""
        again = (attempt,) if attempt else ()
        self.study.sampler = make_sampler("random" if randomly else self.kind, self.seed, number, *again)
        return self.study.ask()

    def ask_fixed(self, params: dict[str, Any]) -> Trial:
        """Returns a new trial whose parameters are given; never queued, so that a crash leaves nothing waiting."""
        self.study.sampler = _Given(params, make_sampler(self.kind, self.seed))
        return self.study.ask()

    def tell(self, number: int, measurements: dict[str, float] | None, attributes: dict[str, Any]) -> None:
        """Tells the outcome of a trial asked before: measurements, or None for one that failed."""
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        trial = self.storage.get_trial(trial_id)
        if trial.state.is_finished():
            return
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
        """Returns the objectives as they are minimised: effective L0 as log2, what is better when higher with its sign changed."""
        found = []
        for name in self.objectives:
            value = measurements[name]
            found.append(math.log2(max(value, 2**-10)) if name == "l0" else (-value if name in HIGHER else value))
        return found

    def _constraints(self, measurements: dict[str, float]) -> dict[str, float]:
        """Returns how far effective L0 lies outside the band, in doublings (at most 0: inside)."""
        level = math.log2(max(measurements["l0"], 2**-10))
        low, high = (math.log2(edge) for edge in self.band)
        return {"band": max(low - level, level - high)}
