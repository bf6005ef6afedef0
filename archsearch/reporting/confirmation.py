"""A confirmation in words: a table of who was trained, one of verdicts, and what it comes to in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archsearch.evaluation.verdicts import BETTER, INCOMPARABLE, UNDECIDED, WORSE, band_words, l0_words
from archsearch.reporting.live import counted, duration
from archsearch.search.judging import adjacent

MEASURED = ("L0", "FVU", "CE recovered", "dead", "gamma")
JUDGED = ("against", "L0", "FVU", "95% interval", "p (Holm)", "seeds", "verdict")

Told = dict[str, Any]
"""The content of confirm.json."""


def print_confirmation(told: Told, console: Console) -> None:
    """Prints what was measured of each contender, the verdicts on each candidate, and the summary."""
    for contender in told["contenders"]:
        console.print(Text(heading(contender), style="bold"), soft_wrap=True)
        console.print(_table(MEASURED, measured_cells(contender)))
    for contender in told["contenders"]:
        if not contender["baseline"]:
            console.print(Text(f"{contender['name']}: difference in FVU, below zero is better", style="bold"), soft_wrap=True)
            console.print(_table(JUDGED, judged_cells(contender["name"], told["verdicts"])))
    for sentence in told["summary"]:
        console.print(Text(sentence), soft_wrap=True)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for head in heads:
        folds = head in ("against", "verdict")
        table.add_column(head, overflow="fold", justify="left" if folds else "right", no_wrap=not folds)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    return table


def heading(contender: Told) -> str:
    """Returns a contender's name and what it costs."""
    name = f"baseline {contender['name']}" if contender["baseline"] else contender["name"]
    costs = [("parameters", ",.0f", "{} parameters"), ("flops", ",.0f", "{} FLOPs a token"), ("seconds", ".1f", "{} s of training each")]
    told = [text.format(format(value, how)) for key, how, text in costs if (value := _mean(contender["rows"], key)) is not None]
    return f"{name} ({', '.join(told)})" if told else name


def measured_cells(contender: Told) -> list[tuple[str, ...]]:
    """Returns a line of text for every level of a contender, in the order of `MEASURED`: means over seeds, `+-`: standard deviation."""
    lines: list[tuple[str, ...]] = []
    for level in dict.fromkeys(row["level"] for row in contender["rows"]):
        rows = [row for row in contender["rows"] if row["level"] == level and not row.get("failure")]
        lines.append(_level(rows) if rows else ("-", "all failed", *["-"] * (len(MEASURED) - 2)))
    return lines


def _level(rows: Sequence[Told]) -> tuple[str, ...]:
    fvu = [row["fvu"] for row in rows]
    spread = f" +- {stdev(fvu):.4f}" if len(fvu) > 1 else ""
    cells = [("ce_recovered", ".3f"), ("dead_frac", ".1%"), ("gamma", ".3f")]
    shown = ["-" if (value := _mean(rows, name)) is None else format(value, how) for name, how in cells]
    return (f"{fmean(row['l0'] for row in rows):.1f}", f"{fmean(fvu):.4f}{spread}", *shown)


def _mean(rows: Sequence[Told], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return fmean(values) if values else None


def judged_cells(candidate: str, verdicts: Sequence[Told]) -> list[tuple[str, ...]]:
    """Returns a line of text for every verdict on a candidate, in the order of `JUDGED`."""
    lines: list[tuple[str, ...]] = []
    before = ""
    for verdict in (one for one in verdicts if one["candidate"] == candidate):
        name = "" if verdict["baseline"] == before else verdict["baseline"]
        before = verdict["baseline"]
        band = band_words(tuple(verdict["band"])).removeprefix("L0 ")
        percent, low, high, p = (verdict[key] for key in ("percent", "low", "high", "p_holm"))
        interval = "-" if low is None or high is None else f"{low:+.1f} to {high:+.1f}"
        numbers = ("-" if percent is None else f"{percent:+.1f}%", interval, "-" if p is None else f"{p:.2g}", str(verdict["seeds"]))
        lines.append((name, band, *numbers, verdict["verdict"]))
    return lines


def conclusions(told: Told) -> list[str]:
    """Returns what a confirmation comes to, in sentences: what was done, each candidate, the verdicts found, and what to keep in mind."""
    sentences = [_done(told)]
    for contender in told["contenders"]:
        if not contender["baseline"]:
            sentences += [_standing(contender["name"], told), *_promise(contender), *_volume(contender["name"], told)]
    sentences += [verdict["sentence"] for verdict in told["verdicts"] if verdict["verdict"] in (BETTER, WORSE)]
    sentences += [_area(entry) for entry in told["areas"]]
    return [*sentences, *_tally(told), *_failures(told), *_openings(told), *told["remarks"]]


def headlines(told: Told) -> list[str]:
    """Returns the few sentences to read first: where each candidate beats the baselines, and by how much at least."""
    found = []
    for contender in told["contenders"]:
        if not contender["baseline"]:
            least = ", ".join(_least(contender["name"], told))
            found.append(_standing(contender["name"], told) + (f"; FVU against the nearest of them is lower by {least}" if least else ""))
    return found


def _least(name: str, told: Told) -> list[str]:
    """Returns the smallest gain over a baseline in each band where a candidate beats all that reach there: `8.8% at L0 16 to 32`."""
    gains: dict[tuple[float, float], float] = {}
    for verdict in told["verdicts"]:
        band = _edges(verdict)
        if verdict["candidate"] == name and verdict["percent"] is not None and band in _beaten(name, told):
            gains[band] = min(gains.get(band, math.inf), -verdict["percent"])
    return [f"{gain:.1f}% at {band_words(band)}" for band, gain in gains.items()]


def _done(told: Told) -> str:
    candidates = sum(not contender["baseline"] for contender in told["contenders"])
    baselines = len(told["contenders"]) - candidates
    rows = [row for contender in told["contenders"] for row in contender["rows"]]
    spent = sum(row["seconds"] or 0.0 for row in rows)
    who = f"{counted(candidates, 'candidate')} and {counted(baselines, 'baseline')}"
    seeds = counted(len(told["seeds"]), "fresh seed")
    return f"{who} trained again with {seeds} on {told['tokens']:,} tokens ({counted(len(rows), 'SAE')}, {duration(spent)} of training)"


def _standing(name: str, told: Told) -> str:
    """Returns where a candidate beats every baseline it can be compared with, and where it loses to one.

    A verdict that was taken back (it has numbers) is no victory; a baseline that does not reach a band stands in nobody's way there.
    """
    by_band = _by_band(name, told)
    above = _beaten(name, told)
    below = [band for band, found in by_band.items() if WORSE in found]
    if not by_band:
        return f"{name}: not comparable with any baseline"
    parts = [f"better than every baseline that reaches there at {_places(above)}"] if above else ["nowhere better than every baseline"]
    return f"{name}: {', '.join([*parts, *([f'worse than one at {_places(below)}'] if below else [])])}"


def _by_band(name: str, told: Told) -> dict[tuple[float, float], list[str]]:
    """Returns the verdicts on a candidate by band, those that have numbers."""
    found: dict[tuple[float, float], list[str]] = {}
    for verdict in told["verdicts"]:
        if verdict["candidate"] == name and verdict["percent"] is not None:
            found.setdefault(_edges(verdict), []).append(verdict["verdict"])
    return found


def _edges(verdict: Told) -> tuple[float, float]:
    low, high = verdict["band"]
    return float(low), float(high)


def _beaten(name: str, told: Told) -> list[tuple[float, float]]:
    return [band for band, found in _by_band(name, told).items() if set(found) == {BETTER}]


def _places(bands: Sequence[tuple[float, float]]) -> str:
    return ", ".join(band_words(band) for band in adjacent(bands))


def _promise(contender: Told) -> list[str]:
    """Returns what the search showed of a candidate, beside what fresh seeds give there: the best of many looks better than it is."""
    promise = contender.get("promise")
    if not promise:
        return []
    where, fresh = f"the best baseline at L0 {l0_words(promise['l0'])}", promise["fresh"]
    shown = f"{contender['name']}: the search showed {_amount(promise['difference'])} FVU than {where}"
    if fresh is None:
        return [f"{shown}; fresh seeds do not all reach there"]
    place = "" if math.isclose(fresh["at"], promise["l0"], rel_tol=0.005) else f" (at {l0_words(fresh['at'])})"
    return [f"{shown}; fresh seeds give {_amount(fresh['mean'])}{place} (95% interval {_range(fresh['low'], fresh['high'])})"]


def _volume(name: str, told: Told) -> list[str]:
    gain = told["hypervolume_gain"].get(name)
    if gain is None:
        return []
    interval = "" if gain["low"] is None or not math.isfinite(gain["low"]) else f", 95% interval {gain['low']:.3f} to {gain['high']:.3f}"
    return [f"{name}: adds {gain['mean']:.3f}{interval} ({gain['percent']:.1f}%) to the hypervolume of the baselines' joint front"]


def _area(entry: Told) -> str:
    low, high = entry["low"], entry["high"]
    interval = "" if low is None or high is None else f" (95% interval {low:+.1f}% to {high:+.1f}%, no verdict)"
    where, percent = band_words((entry["range"][0], entry["range"][1])), entry["percent"]
    return f"{entry['candidate']}: over all it shares with {entry['baseline']}, {where}, {percent:+.1f}% FVU{interval}"


def _tally(told: Told) -> list[str]:
    found = [verdict["verdict"] for verdict in told["verdicts"]]
    asked = len(found) - found.count(INCOMPARABLE)
    if asked == 0:
        return ["nothing could be compared: no candidate and baseline cover half of any band with every seed"]
    counts = ", ".join(f"{found.count(word)} {word}" for word in (BETTER, WORSE, UNDECIDED, INCOMPARABLE) if word in found)
    return [f"{counted(len(found), 'comparison')}: {counts}; the chance that any of them is found by luck alone is at most 5% (Holm)"]


def _failures(told: Told) -> list[str]:
    sentences = []
    for contender in told["contenders"]:
        failed = [row for row in contender["rows"] if row.get("failure")]
        if failed:
            why = "; ".join(dict.fromkeys(row["failure"] for row in failed))
            seeds = counted(len({row["seed"] for row in failed}), "seed")
            runs = counted(len(contender["rows"]), "run")
            sentences.append(f"{contender['name']}: {len(failed)} of its {runs} failed, of {seeds}, left out where they failed ({why})")
    return sentences


def _openings(told: Told) -> list[str]:
    count = told["openings"]
    if count == 1:
        return ["the test split has been opened once for this study"]
    times = f"the test split has been opened {count} times for this study (a command stopped and resumed counts twice)"
    return [f"{times}; what is chosen after a look at it is no longer held out"]


def _amount(difference: float) -> str:
    percent = 100 * math.expm1(difference)
    return f"{abs(percent):.1f}% {'lower' if percent < 0 else 'higher'}"


def _range(low: float, high: float) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "unknown"
    if low * high <= 0:
        return f"{_amount(low)} to {_amount(high)}"
    near, far = sorted(abs(100 * math.expm1(edge)) for edge in (low, high))
    return f"{near:.1f} to {far:.1f}"
