"""How much of the plane of L0 and FVU a study has won, over the tokens it trained on."""

from __future__ import annotations

from dataclasses import dataclass

from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.endings import trained_tokens
from archsearch.search.records import StudyRecord, TrialRecord, feasible, standing


@dataclass(frozen=True)
class Volume:
    """Hypervolume after every trial that counts, in order.

    `tokens`: rows trained on so far, in all; `reached`: the volume then (octaves of L0 times FVU); `baselines`: what the baselines alone
    come to in the end; `baseline_tokens`: rows trained on when the last of them was done.
    """

    tokens: list[int]
    reached: list[float]
    baselines: float | None
    baseline_tokens: int


def tokens_of(record: StudyRecord, trial: TrialRecord) -> int:
    """Returns the rows a trial of a study was trained on."""
    return trained_tokens(trial, max(record.climbed.rungs.get(trial.number) or {}, default=0.0))


def volumes(record: StudyRecord) -> Volume:
    """Returns the hypervolume of a study over its tokens, trials and their points in the order they were written (baselines first)."""
    tokens, reached, points, base = list[int](), list[float](), list[tuple[float, float]](), list[tuple[float, float]]()
    total = baseline_tokens = 0
    for trial in record.trials:
        total += tokens_of(record, trial)
        if trial.state != "complete":
            continue
        places = [(one.measurements["l0"], one.measurements["fvu"]) for one in standing([trial]) if feasible(one, record.band)]
        points += places
        if trial.baseline:
            base += places
        if trial.baseline:
            baseline_tokens = total
        tokens.append(total)
        reached.append(hypervolume(points, record.band))
    return Volume(tokens, reached, hypervolume(base, record.band) if base else None, baseline_tokens)
