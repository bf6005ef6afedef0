"""What ends a study before all its trials are done: tokens, the clock, a front that no longer grows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.ledger import Ledger
from archsearch.search.records import TrialRecord, feasible, standing
from archsearch.spec.stop import Stalled, StopSpec


@dataclass
class Ending:
    """The rules of a study, and the time it has taken so far.

    `before`: seconds of earlier sessions. Rules are asked between cohorts, so that a study may go over by one of them.
    """

    ledger: Ledger
    spec: StopSpec
    band: tuple[float, float]
    before: float
    begun: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Wall clock of all sessions."""
        return self.before + time.perf_counter() - self.begun

    def save(self) -> None:
        """Writes down the time taken, so that a killed session counts too."""
        self.ledger.update_study(seconds=self.seconds)

    def reached(self, trials: Sequence[TrialRecord]) -> str:
        """Returns why the study ends now, in words; nothing while it goes on."""
        hours, most = self.spec.hours, self.spec.tokens
        if hours is not None and self.seconds >= hours * 3600:
            return f"the budget of {hours:.3g} hours is spent; a larger one (`--budget`) goes on from here"
        spent = sum(map(_begun_tokens, trials)) if most is not None else 0
        if most is not None and spent >= most:
            return f"{spent:,} tokens are trained, of {most:,} in all; a larger `study.stop.tokens` goes on from here"
        return self._stalled(self.spec.stalled, trials) if self.spec.stalled is not None else ""

    def _stalled(self, rule: Stalled, trials: Iterable[TrialRecord]) -> str:
        ended = sorted((t for t in trials if t.state != "running"), key=lambda trial: trial.number)
        searched = [trial.number for trial in ended if trial.baseline is None]
        if len(searched) <= rule.trials:
            return ""
        last = searched[-rule.trials]
        now, then = self._volume(ended), self._volume(trial for trial in ended if trial.number < last)
        if now > then * (1 + rule.gain):
            return ""
        grown = f"{now / then - 1:.2%}" if then else "nothing"
        return f"hypervolume stalled: over the last {rule.trials} trials it grew by {grown}"

    def _volume(self, trials: Iterable[TrialRecord]) -> float:
        return hypervolume([(t.measurements["l0"], t.measurements["fvu"]) for t in standing(trials) if feasible(t, self.band)], self.band)


def _begun_tokens(trial: TrialRecord) -> int:
    """Returns the rows a trial was trained on, or will be if nothing stops it: what was begun is brought to its end."""
    running = int((trial.spec.get("training") or {}).get("tokens") or 0) if trial.state == "running" else 0
    return running or trained_tokens(trial)


def trained_tokens(trial: TrialRecord, reached_frac: float = 0.0) -> int:
    """Returns the rows a trial was trained on: none where its values are another's or it is a point of another, or while it runs.

    One that failed or was stopped may have ended at any step: what it last reported, or the rung it was measured at (`reached_frac`, share
    of its run), is known to be done.
    """
    if trial.copied_from is not None or trial.cut_to is not None or trial.state == "running":
        return 0
    training = trial.spec.get("training") or {}
    tokens = int(training.get("tokens") or 0)
    if trial.state == "complete":
        return tokens
    reported = (trial.history[-1][0] if trial.history else 0) * int(training.get("batch") or 0)
    return max(reported, round(reached_frac * tokens))
