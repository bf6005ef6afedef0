"""Everything of Optuna in one place: samplers, its study, asking and telling.

Private touch points (`Trial(study, id)`) are kept here; they let a trial that was running when the process died be finished in place.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState, create_trial

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


class Sampling:
    """Optuna's side of a study."""

    def __init__(self, url: str, name: str, kind: str, seed: int, objectives: tuple[str, ...], band: tuple[float, float]):
        self.kind, self.seed, self.objectives, self.band = kind, seed, objectives, band
        engine = {"connect_args": {"timeout": 60}}
        storage = optuna.storages.RDBStorage(url, engine_kwargs=engine)
        directions = [StudyDirection.MINIMIZE] * len(objectives)
        self.study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.set_metric_names(["log2 " + name if name == "l0" else name for name in objectives])

    def ask(self, number: int, randomly: bool = False) -> Trial:
        """Returns a new trial; `number` counts asks, and with the study's seed decides what is drawn."""
        self.study.sampler = make_sampler("random" if randomly else self.kind, self.seed, number)
        return self.study.ask()

    def ask_fixed(self, params: dict[str, Any]) -> Trial:
        """Returns a new trial whose parameters are given."""
        self.study.sampler = RandomSampler(seed=0)  # never consulted: every parameter is fixed
        self.study.enqueue_trial(params)
        return self.study.ask()

    def tell(self, number: int, measurements: dict[str, float] | None, attributes: dict[str, Any]) -> None:
        """Tells the outcome of a trial asked before: measurements, or None for one that failed."""
        trial = next(t for t in self.study.get_trials(deepcopy=False) if t.number == number)
        if trial.state.is_finished():
            return
        open_trial = Trial(self.study, trial._trial_id)
        for name, value in attributes.items():
            open_trial.set_user_attr(name, value)
        if measurements is None:
            self.study.tell(number, state=TrialState.PRUNED)  # not FAIL: a sampler should learn to avoid it
            return
        for name, value in self._constraints(measurements).items():
            if name not in trial.constraints:
                open_trial.set_constraint(name, value)
        self.study.tell(number, self._values(measurements))

    def add(self, measurements: dict[str, float], attributes: dict[str, Any]) -> None:
        """Adds a finished trial with no parameters: a baseline."""
        self.study.add_trial(
            create_trial(values=self._values(measurements), user_attrs=attributes, constraints=self._constraints(measurements))
        )

    def forget_orphans(self, known: set[int]) -> int:
        """Fails trials that are running here but were never written to the ledger; returns how many there were."""
        orphans = [t.number for t in self.study.get_trials(deepcopy=False) if not t.state.is_finished() and t.number not in known]
        for number in orphans:
            self.study.tell(number, state=TrialState.FAIL)
        return len(orphans)

    def _values(self, measurements: dict[str, float]) -> list[float]:
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
