"""How a study was done, in paragraphs, and what its blocks come from: written from its space, its specs and where its numbers come from."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.blocks.catalogue import catalogue
from archsearch.reporting.live import counted
from archsearch.reporting.picture import number
from archsearch.reporting.report.boxes import setting
from archsearch.reporting.report.data import Report, kinds_of
from archsearch.spec.points import REACH

_SAMPLERS = {
    "tpe": "a tree-structured Parzen estimator (multivariate, grouped)",
    "random": "uniform draws",
    "nsga2": "the genetic algorithm NSGA-II",
    "gp": "a Gaussian process over structures (expected improvement of what a curve holds of the front)",
    "evolution": "evolution over graphs",
}


@dataclass(frozen=True)
class Reference:
    """A paper, and the blocks of the study that come from it."""

    text: str
    url: str


def methods(report: Report) -> list[str]:
    """Returns how the study was done, a paragraph each: data, training, search, measurements, how to take the numbers."""
    return [" ".join(sentences) for part in (_data, _training, _search, _measured, _seeds) if (sentences := part(report))]


def _data(report: Report) -> list[str]:
    told = report.record.provenance.get("activations") or {}
    source = _source(report.record.space.get("activations") or {"source": told.get("source", "bundled")})
    recipe: dict[str, Any] = told["recipe"] if isinstance(told.get("recipe"), dict) else {}
    rows, context = recipe.get("rows"), recipe.get("context")
    sentences = [f"SAEs were trained on {source}."]
    if context:
        bos = ", each opened by a BOS token, whose own row is left out" if recipe.get("bos") else ""
        sentences.append(f"The model read windows of {context} tokens{bos}.")
    if isinstance(rows, dict):
        counts = ", ".join(f"{count:,} {name}" for name, count in rows.items())
        sentences.append(f"Documents fall into four splits, harvested as {counts} rows; none is in two splits.")
    if told.get("fingerprint"):
        sentences.append(f"The data's fingerprint is {told['fingerprint'][:16]}.")
    return sentences


def _source(source: Mapping[str, Any]) -> str:
    hook = source.get("hook")
    at = f" at {_listed([hook] if isinstance(hook, str) else hook)}" if hook else ""
    kind = source.get("source")
    if kind == "bundled":
        return f"activations{at or ' (default hook)'} of the bundled language model of Python source, on the Python standard library"
    if kind == "model":
        return f"activations{at} of {source.get('model')}, on {source.get('data')}"
    if kind == "synthetic":
        return (
            f"synthetic rows: sums of {source.get('active')} of {source.get('features')} directions on average, {source.get('model')} wide"
        )
    return f"activations from {source.get('path') or 'files'}{at}"


def _training(report: Report) -> list[str]:
    searched = [trial.spec for trial in report.record.trials if not trial.baseline] or [trial.spec for trial in report.record.trials]
    if not searched:
        return []
    widths, training = [spec.get("width") for spec in searched], [spec.get("training") or {} for spec in searched]
    tokens, batch = (_spread(one.get(name) for one in training) for name in ("tokens", "batch"))
    optimizer = _block([one.get("optimizer") for one in training])
    schedule = _block([one.get("schedule") for one in training])
    clips = _spread(one.get("clip_norm") for one in training)
    sentences = [f"Each SAE of width {_spread(widths)} was trained on {tokens} tokens in batches of {batch}, with {optimizer}."]
    if schedule:
        sentences.append(f"The learning rate followed {schedule}.")
    if clips and clips != "none":
        sentences.append(f"Gradients were clipped at norm {clips}.")
    precision = report.record.provenance.get("precision")
    if precision:
        sentences.append(f"Products ran in {precision}.")
    return sentences


def _search(report: Report) -> list[str]:
    record, study = report.record, report.record.space.get("study") or {}
    search = sum(not trial.baseline for trial in record.trials)
    sampler = _SAMPLERS.get(str(report.settings.get("sampler")), "")
    by = f", drawn by {sampler}" if sampler else ""
    seed = f" with sampler seed {report.settings['seed']}" if "seed" in report.settings else ""
    sentences = [f"The search trained {counted(search, 'SAE')}{by}{seed}."]
    sweep = study.get("sweep")
    if isinstance(sweep, Mapping) and sweep.get("l0"):
        sentences.append(f"Each structure was brought to effective L0 {_listed(map(str, sweep['l0']))}; each level is a trial.")
    elif isinstance(sweep, int):
        sentences.append(f"Each structure was trained at {counted(sweep, 'sparsity level')}, each of which is a trial.")
    points = study.get("points")
    if isinstance(points, Mapping):
        sentences.append(f"Every finished SAE {_cut(points)} after training, which makes no trial.")
    if report.curves:
        draws = counted(int(study.get("baseline_asks", 1)), "draw")
        swept = f"each swept over sparsity and tuned with {draws} of its other open settings"
        sentences.append(f"Baselines came first ({_listed(report.curves)}), {swept}.")
    low, high = (number(edge) for edge in record.band)
    objectives = _listed(record.objectives)
    sentences.append(f"The front is that of {objectives} among SAEs with an effective L0 of {low} to {high}.")
    return sentences


def _measured(report: Report) -> list[str]:
    rows = {int(count) for t in report.record.trials if math.isfinite(count := t.measurements.get("rows", math.nan))}
    where = f"on {_listed(f'{count:,}' for count in sorted(rows))} validate rows" if rows else "on validate rows"
    spliced = [t for t in report.record.trials if math.isfinite(t.measurements.get("ce_recovered", math.nan))]
    ce = (
        "CE recovered is the share of the language model's loss, from mean ablation of the activations to the model itself, that stays "
        f"recovered with reconstructions in their place; it was measured for {counted(len(spliced), 'SAE')}."
    )
    return [
        f"Everything was measured {where}, at inference.",
        "Effective L0 is the mean number of nonzero code entries of a row, plus the rank of what flows from input to output past every",
        "code; FVU the fraction of variance unexplained about the mean, E|x - x_hat|^2 / (E|x|^2 - |E x|^2), over all targets.",
        "Dead latents fire on none of those rows.",
        *([ce] if spliced else []),
        "Against a baseline means the difference in FVU at equal L0, log FVU running straight in log L0 between the baseline's best trials",
        "and nothing being said beyond them.",
    ]


def _seeds(report: Report) -> list[str]:
    seeds = "one seed" if report.seeds <= 1 else f"{report.seeds} different seeds over the study"
    sentences = [f"Each SAE was trained once ({seeds}); the search chose among SAEs by the same validate rows that are reported."]
    told = report.confirmed
    if told:
        fresh = counted(len(told["seeds"]), "fresh seed")
        judged = f"and judged on {told.get('split', 'test')} rows by paired t intervals over seeds, adjusted by Holm's method"
        sentences.append(f"The confirmation trained the best again with {fresh}, {judged}.")
    return sentences


def references(report: Report) -> list[Reference]:
    """Returns the papers the blocks of a study come from, those of most trials first."""
    blocks = catalogue().blocks
    found: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    for kind, _ in sorted(kinds_of(report.record).items(), key=lambda pair: (-pair[1], pair[0])):
        paper = blocks[kind].paper if kind in blocks else None
        if paper is not None:
            found.setdefault(paper.url, []).append(f"{kind}: {paper.where}")
            titles.setdefault(paper.url, paper.title)
    return [Reference(f"{titles[url]} ({'; '.join(uses)}).", url) for url, uses in found.items()]


def repeat_commands(report: Report) -> list[str]:
    """Returns the commands that repeat a study, and those that take its SAEs further."""
    study = shlex.quote(report.study)
    lines = [report.record.command] if report.record.command else []
    lines += [f"archsearch report {study}"]
    if report.front:
        best = min(report.front, key=lambda row: row.versus.percent if row.versus and not row.baseline else math.inf)
        cut = "" if best.cut_to is None else f" --cut {best.cut_to:g}"
        lines += [f"archsearch export {study} --trial {best.trial}{cut} --out best.json", "archsearch train --spec best.json"]
    if not report.confirmed:
        lines.append(f"archsearch confirm {study}")
    return lines


def _spread(values: Iterable[Any]) -> str:
    """Returns the values of a setting over trials: one, a few of them, or their range."""
    found = list(dict.fromkeys(values))
    numbers = sorted(value for value in found if isinstance(value, (int, float)) and not isinstance(value, bool))
    if len(found) > 3 and len(numbers) == len(found):
        return f"{_worded(numbers[0])} to {_worded(numbers[-1])}"
    return _listed(map(_worded, numbers if len(numbers) == len(found) else found), "or")


def _block(entries: list[Any]) -> str:
    """Returns blocks of one slot over trials: kinds, and the settings of each that is not a default in all of them."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if isinstance(entry, dict) and "kind" in entry:
            by_kind.setdefault(entry["kind"], []).append(entry)
    parts = []
    for kind, group in by_kind.items():
        names = dict.fromkeys(name for entry in group for name in entry if name != "kind")
        settings = ", ".join(setting(name, _spread(entry.get(name) for entry in group)) for name in names)
        parts.append(f"{kind} ({settings})" if settings else kind)
    return _listed(parts, "or")


def _worded(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _cut(points: Mapping[str, Any]) -> str:
    """Returns what was done to an SAE for the points of a study."""
    if points.get("per_octave"):
        return f"was also cut to lower L0s, {points['per_octave']} an octave and down to {1 / REACH:.0%} of its own,"
    return f"well above effective L0 {_listed(map(str, points['l0']))} was also cut to it"


def _listed(values: Iterable[Any], last: str = "and") -> str:
    found = [str(value) for value in values]
    return f"{', '.join(found[:-1])} {last} {found[-1]}" if len(found) > 1 else "".join(found)
