"""What the ladder of a study saved, and whether its rungs told the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import spearmanr

from archsearch.reporting.live import counted
from archsearch.search.records import StudyRecord, TrialRecord, front


@dataclass(frozen=True)
class Saved:
    """What came of a ladder.

    `stopped`: trials stopped (count); `saved_frac`: share of the tokens of all trials of the search that was not trained for it;
    `agreement`: Spearman's rank correlation of FVU at a rung and at the end, by rung, over trials asked for the same sparsity and averaged
    over levels; rungs too few trials went beyond are left out; `audited`: trials finished though behind; `lost`: those of them that
    stand on the front.
    """

    stopped: int
    saved_frac: float
    agreement: dict[float, float]
    audited: int
    lost: int


def saved(record: StudyRecord) -> Saved | None:
    """Returns what the ladder came to, or None where the study has none."""
    if not record.climbed.rungs:
        return None
    search = [trial for trial in record.trials if trial.baseline is None and trial.copied_from is None and trial.state != "running"]
    tokens = {trial.number: trial.spec["training"]["tokens"] for trial in search}
    stopped = [trial for trial in search if trial.state == "stopped"]
    spared = sum(tokens[trial.number] * (1 - _last(record, trial)) for trial in stopped)
    best = {trial.number for trial in front(record.trials, record.band, record.objectives)}
    return Saved(
        stopped=len(stopped),
        saved_frac=spared / max(sum(tokens.values()), 1),
        agreement=_agreement(record),
        audited=len(record.climbed.audited),
        lost=len(record.climbed.audited & best),
    )


def ladder_words(record: StudyRecord) -> list[str]:
    """Returns what came of the ladder in sentences; nothing where there is none."""
    found = saved(record)
    if found is None:
        return []
    lines = [f"The ladder stopped {counted(found.stopped, 'trial')} and saved {found.saved_frac:.0%} of the tokens of the search."]
    if found.agreement:
        told = ", ".join(f"{value:.2f} after {100 * frac:g}%" for frac, value in found.agreement.items())
        lines.append(f"Rank correlation of FVU at a rung and at the end: {told} of the run (finished trials only, so rather too low).")
    if found.audited:
        lost = "none stands" if not found.lost else f"{found.lost} stand{'s' if found.lost == 1 else ''}"
        lines.append(f"Of {found.audited} finished for the audit though behind, {lost} on the front.")
    return lines


def _last(record: StudyRecord, trial: TrialRecord) -> float:
    return max(record.climbed.rungs.get(trial.number, {}), default=0.0)


def _agreement(record: StudyRecord, least: int = 4) -> dict[float, float]:
    """Returns the rank correlation by rung; levels with fewer than `least` finished trials have none."""
    found: dict[float, list[float]] = {}
    finished = [trial for trial in record.trials if trial.state == "complete" and trial.copied_from is None]
    for frac in sorted({frac for rungs in record.climbed.rungs.values() for frac in rungs}):
        for level in sorted({trial.level for trial in finished}):
            both = [
                (record.climbed.rungs[trial.number][frac].get("fvu", math.nan), trial.measurements.get("fvu", math.nan))
                for trial in finished
                if trial.level == level and frac in record.climbed.rungs.get(trial.number, {})
            ]
            both = [pair for pair in both if all(map(math.isfinite, pair))]
            first, last = ([pair[side] for pair in both] for side in (0, 1))
            if len(both) >= least and len(set(first)) > 1 and len(set(last)) > 1:
                found.setdefault(frac, []).append(float(spearmanr(first, last).statistic))
    return {frac: sum(values) / len(values) for frac, values in found.items()}
