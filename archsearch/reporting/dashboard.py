"""What Optuna's dashboard cannot know of a study, put into what it serves: who stands on the front and why, and the hypervolume.

The dashboard takes every finished trial for feasible, since it looks for constraints where older versions of Optuna kept them. Nothing is
written anywhere: the study's database is the truth, and the dashboard only shows it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import plotly.graph_objects as go

from archsearch.reporting.front import FrontRow, front_rows
from archsearch.reporting.report.volume import volumes
from archsearch.search.records import StudyRecord, TrialRecord

RUN = "archsearch:run"
"""User attribute of a trial in Optuna's tables that holds its run hash."""

_VOLUME = "hypervolume"
"""Name of the plot in the dashboard."""

Detail = dict[str, Any]
"""A study as the dashboard's server tells its page."""


def dressed(detail: Detail, record: StudyRecord) -> Detail:
    """Returns a study as the dashboard tells it, with what `record` knows: constraints, front, notes on its members, hypervolume.

    A study of another name is left alone; several may share a database.
    """
    name = detail.get("name")
    if name not in (record.name, f"{record.name} (baselines)"):
        return detail
    known = {trial.run: trial for trial in reversed(record.trials)}
    notes = _notes(record)
    trials, met = list[Detail](), dict[str, Detail]()
    for trial in detail["trials"]:
        run = next((one["value"] for one in trial["user_attrs"] if one["key"] == RUN), "")
        told = {**trial, "constraints": _constraints(known.get(run), record.band), **_values(trial, known.get(run), record.objectives)}
        if run in notes and run not in met:  # of trials with one SAE the first stands for all
            met[run] = told = {**told, "note": {"version": 1, "body": notes[run]}}
        trials.append(told)
    plots = [*detail["plotly_graph_objects"]]
    if name == record.name:
        plots.append({"id": _VOLUME, "graph_object": _hypervolume(record).to_json()})
    note = {"version": 1, "body": record.question or record.name}
    return {**detail, "trials": trials, "best_trials": list(met.values()), "plotly_graph_objects": plots, "note": note}


def _constraints(trial: TrialRecord | None, band: tuple[float, float]) -> list[float]:
    """Returns how far effective L0 lies outside the band, in doublings (at most 0: inside); nothing where it was not measured."""
    l0 = trial.measurements.get("l0", math.nan) if trial is not None else math.nan
    if not math.isfinite(l0):
        return []
    level = math.log2(max(l0, 2**-10))
    return [max(math.log2(band[0]) - level, level - math.log2(band[1]))]


def _values(detail: Detail, trial: TrialRecord | None, objectives: tuple[str, ...]) -> Detail:
    """Returns what a trial's objectives came to: the sampler is told an L0 that was met as the one asked for."""
    if "values" not in detail or trial is None or not math.isfinite(trial.measurements.get("l0", math.nan)):
        return {}
    l0 = math.log2(max(trial.measurements["l0"], 2**-10))
    return {"values": [l0 if name == "l0" else value for name, value in zip(objectives, detail["values"])]}


def _notes(record: StudyRecord) -> dict[str, str]:
    """Returns a note on each member of the front, by the run hash of its trial."""
    runs = {trial.number: trial.run for trial in record.trials}
    found: dict[str, str] = {}
    for row in front_rows(record):
        run = runs[row.trial]
        found[run] = f"{found[run]}\n\n{_note(row)}" if run in found else _note(row)
    return found


def _note(row: FrontRow) -> str:
    measured = [f"effective L0 {row.l0:.3g}", f"FVU {row.fvu:.4g}"]
    if row.ce_recovered is not None:
        measured.append(f"CE recovered {row.ce_recovered:.3g}")
    if row.dead_frac is not None:
        measured.append(f"{row.dead_frac:.0%} of latents dead")
    told = f"**On the front**, trial {row.label}: {', '.join(measured)}."
    if row.versus is not None and math.isfinite(row.versus.percent):
        than = "lower" if row.versus.percent < 0 else "higher"
        told += f" FVU is {abs(row.versus.percent):.1f}% {than} than that of the best baseline at this L0, {row.versus.baseline}."
    return f"{told}\n\n{row.words}"


def _hypervolume(record: StudyRecord) -> go.Figure:
    """Returns the hypervolume over the tokens trained on, beside what the baselines alone come to."""
    found = volumes(record)
    millions = [tokens / 1e6 for tokens in found.tokens]
    lines = [go.Scatter(x=millions, y=found.reached, mode="lines", line={"shape": "hv"}, name="study")]
    if found.baselines is not None and millions:
        ends = [millions[0], millions[-1]]
        lines.append(go.Scatter(x=ends, y=[found.baselines] * 2, mode="lines", line={"dash": "dash"}, name="baselines alone"))
    return go.Figure(
        lines,
        {
            "title": {"text": "Hypervolume"},
            "xaxis": {"title": {"text": "tokens trained on, all SAEs together (millions)"}},
            "yaxis": {"title": {"text": "octaves of L0 times FVU"}},
        },
    )


def dressed_json(body: bytes, record: StudyRecord, after: int) -> bytes:
    """Returns an answer of the dashboard's server, a whole study as JSON, dressed and without its first `after` trials."""
    found = dressed(json.loads(body), record)
    return json.dumps({**found, "trials": found["trials"][after:]}).encode()
