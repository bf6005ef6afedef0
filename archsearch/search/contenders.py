"""Who is confirmed: structures that stand on a study's front, and each baseline as it was tuned best."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archsearch.assembler.parse import parse
from archsearch.assembler.requested import first_gates, graph_at_any_width
from archsearch.assembler.words import family, telling
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput, StudyError
from archsearch.evaluation.curves import Point, area, at_l0, curve_of
from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.records import StudyRecord, TrialRecord, front
from archsearch.spec.seeds import seed_of

_PARTS = re.compile(r", (?![^(\[]*[)\]])")
"""A comma between the parts of a spec's words."""

_SEEDS = 1_000_000
"""Seeds are drawn below this, so that they can be read and typed."""


@dataclass(frozen=True)
class Contender:
    """One structure that is trained again: its trials, one a sparsity level, by rising L0.

    `best`: the front member it is a candidate for; `improvement`: how far its log FVU lay below the best baseline at that L0, where all
    baselines reach (None: it lies where not all do, or this is a baseline; where a good baseline ends, a poor one would make everything
    look good); `gain`: hypervolume it added to the baselines' joint front. Both are numbers of the search, which chose by them.
    """

    name: str
    ask: int
    baseline: bool
    words: str
    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None = None
    improvement: float | None = None
    gain: float = 0.0


@dataclass(frozen=True)
class Contenders:
    """All that are confirmed together, and the candidates left out."""

    candidates: tuple[Contender, ...]
    baselines: tuple[Contender, ...]
    left_out: tuple[Contender, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[Contender, ...]:
        """Candidates, then baselines."""
        return (*self.candidates, *self.baselines)


def contenders_of(record: StudyRecord, best: int) -> Contenders:
    """Returns the `best` candidates of a study, by how far they lay below the best baseline, and each baseline as it was tuned best.

    Raises:
        StudyError: no structure of the search stands on the front, or no baseline was finished.
    """
    known = {trial.baseline: trial for trial in record.trials if trial.baseline}
    tuned = {name: _tuned(record, name) for name in known}
    baselines = [found for found in tuned.values() if found is not None]
    if not baselines:
        why = "none of its baselines was finished" if known else "it has no baselines"
        raise StudyError(
            f"{record.name}: {why}, so there is nothing to confirm an improvement over; name some in the space "
            "(`baselines: [topk, relu_l1]`, or SAEs of your own) and run it with another `--out`"
        )
    found = sorted(_candidates(record), key=_merit)
    if not found:
        raise StudyError(
            f"{record.name}: no structure of the search stands on the front at L0 {record.band[0]:g} to {record.band[1]:g}, so there is "
            "nothing to confirm; give the study more trials, or widen the space"
        )
    named = _named(found, [contender.name for contender in baselines])
    lost = [name for name, contender in tuned.items() if contender is None]
    remarks = [f"baseline {name} is left out: none of its trials was finished" for name in lost]
    return Contenders(tuple(named[:best]), tuple(baselines), tuple(named[best:]), tuple(remarks))


def fresh_seeds(record: StudyRecord, count: int) -> list[int]:
    """Returns seeds no trial of the study was trained with, the same ones every time; more of them begin with the fewer."""
    used = {trial.spec.get("training", {}).get(name) for trial in record.trials for name in ("seed", "data_seed")}
    seeds: list[int] = []
    index = 0
    while len(seeds) < count:
        seed = seed_of("confirm", record.name, index) % _SEEDS
        index += 1
        if seed not in used and seed not in seeds:
            seeds.append(seed)
    return seeds


def reseeded(spec: dict[str, Any], seed: int, tokens: int | None = None, width: int | None = None) -> dict[str, Any]:
    """Returns a resolved spec with another seed of initialisation and of the order of rows, and with other tokens or width where given.

    The SAEs nested in it keep their share of the width; counts and the L0 asked for stay as they are.
    """
    found = copy.deepcopy(spec)
    found["training"] |= {"seed": seed, "data_seed": seed, **({} if tokens is None else {"tokens": tokens})}
    if width is not None:
        _widen(found, width / found["width"])
        found["width"] = width
    return found


def _widen(document: dict[str, Any], factor: float) -> None:
    for block in document["graph"].values():
        if "graph" in block:
            block["width"] = max(round(block["width"] * factor), 1)
            _widen(block, factor)


def latents_of(spec: dict[str, Any]) -> int:
    """Returns the number of latents of a resolved spec: its width, or those of the SAEs nested in it together."""
    nested = [block for block in spec["graph"].values() if "graph" in block]
    return sum(map(latents_of, nested)) if nested else spec["width"]


def asked(spec: dict[str, Any]) -> float | None:
    """Returns the L0 a spec asks for, by a controller, the counts of its gates or a penalty that holds one; None where none is asked."""
    blocks = catalogue().blocks

    def of(entries: Iterable[dict[str, Any]], slot: str = "") -> list[float | None]:
        known = [(entry, blocks[entry["kind"]]) for entry in entries if entry["kind"] in blocks]
        return [entry.get(block.l0_setting) if block.l0_setting else None for entry, block in known if slot in ("", block.slot)]

    first = _first_gates(spec)
    gates = of((block for label, block in _flat(spec["graph"]) if label not in first), "gate")
    controller = of([spec["controller"]] if spec.get("controller") else [])
    losses = [value for value in of(spec.get("losses", {}).values()) if value is not None]
    counts = [value for value in gates if value is not None]
    if controller and controller[0] is not None:
        return float(controller[0])
    if counts and len(counts) == len(gates):
        return float(sum(counts))
    return float(losses[0]) if losses else None


def _first_gates(spec: dict[str, Any]) -> set[str]:
    """Returns the labels of gates that speak for no dictionary: what they keep is no L0."""
    try:
        return set(first_gates(graph_at_any_width(parse(spec), catalogue())))
    except InvalidInput:  # a block that is not here any more
        return set()


def _flat(graph: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for label, block in graph.items():
        yield from _flat(block["graph"], f"{prefix}{label}/") if "graph" in block else ((f"{prefix}{label}", block),)


def _asks(trials: Iterable[TrialRecord]) -> dict[int, tuple[TrialRecord, ...]]:
    """Returns trials by ask, each SAE once, by rising L0 (those without one last)."""
    found: dict[int, dict[str, TrialRecord]] = {}
    for trial in trials:
        found.setdefault(trial.ask, {}).setdefault(trial.run, trial)
    return {ask: tuple(sorted(runs.values(), key=lambda t: (t.measurements.get("l0", math.inf), t.level))) for ask, runs in found.items()}


def _points(trials: Iterable[TrialRecord]) -> list[Point]:
    """Returns what the trials came to, as a curve."""
    done = [trial.measurements for trial in trials if trial.state == "complete"]
    return curve_of((found.get("l0", math.nan), found.get("fvu", math.nan)) for found in done)


def _tuned(record: StudyRecord, name: str) -> Contender | None:
    """Returns the best-tuned ask of a baseline: least mean log FVU over the L0s its asks have in common.

    Where they have none in common, the one of most hypervolume; None where nothing was finished.
    """
    asks = {ask: trials for ask, trials in _asks(t for t in record.trials if t.baseline == name).items() if _points(trials)}
    if not asks:
        return None
    curves = {ask: _points(trials) for ask, trials in asks.items()}
    long = {ask: curve for ask, curve in curves.items() if len(curve) > 1}
    low, high = max((c[0][0] for c in long.values()), default=1.0), min((c[-1][0] for c in long.values()), default=0.0)
    if low < high:
        best = min(long, key=lambda ask: (area(long[ask], low, high) or 0.0, ask))
    else:
        best = min(curves, key=lambda ask: (-hypervolume(curves[ask], record.band), ask))
    return Contender(name, best, True, _shared(asks[best]), asks[best])


def _candidates(record: StudyRecord) -> list[Contender]:
    """Returns every structure of the search with a member on the front, unnamed."""
    members = front(record.trials, record.band, record.objectives)
    names = dict.fromkeys(trial.baseline for trial in record.trials if trial.baseline)
    everywhere = (math.ulp(0.0), math.inf)
    each = {name: _points(front([t for t in record.trials if t.baseline == name], everywhere)) for name in names}
    joint = [point for curve in each.values() for point in curve]
    before = hypervolume(joint, record.band)
    asks = _asks(trial for trial in record.trials if trial.baseline is None)
    found: list[Contender] = []
    for ask in dict.fromkeys(trial.ask for trial in members if trial.baseline is None):
        mine = [trial for trial in members if trial.ask == ask and trial.baseline is None]
        below = {trial.number: _below(trial, each.values()) for trial in mine}
        best = max(mine, key=lambda trial: (-math.inf if (far := below[trial.number]) is None else far, -trial.number))
        gain = hypervolume([*joint, *_points(asks[ask])], record.band) - before
        found.append(Contender("", ask, False, _shared(asks[ask]), asks[ask], best, below[best.number], gain))
    return found


def _below(trial: TrialRecord, curves: Iterable[Sequence[Point]]) -> float | None:
    """Returns how far the log FVU of a trial lies below the best baseline at its L0; None where not all of them reach."""
    l0, fvu = trial.measurements["l0"], trial.measurements["fvu"]
    there = [at_l0(curve, l0) for curve in curves if curve]
    values = [value for value in there if value is not None and value > 0]
    return math.log(min(values) / fvu) if values and len(values) == len(there) and fvu > 0 else None


def _merit(contender: Contender) -> tuple[float, float, int]:
    """Orders candidates: furthest below the baselines first, then most hypervolume added; those beyond a baseline last."""
    return (math.inf if contender.improvement is None else -contender.improvement, -contender.gain, contender.ask)


def _shared(trials: Sequence[TrialRecord]) -> str:
    """Returns the words all levels of a structure have in common, its gates first."""
    split = [_PARTS.split(trial.words) for trial in trials]
    common = [part for part in split[0] if all(part in parts for parts in split)]
    head = [] if split[0][0] in common else [family(trials[0].spec)]
    return ", ".join([*head, *common])


def _named(candidates: Sequence[Contender], taken: Sequence[str]) -> list[Contender]:
    """Returns candidates with the words that tell them apart as names, each name its own."""
    heads = [_PARTS.split(contender.words)[0] for contender in candidates]
    told = [_PARTS.split(text) for text in telling([contender.words for contender in candidates])]
    texts = [", ".join(dict.fromkeys([head, *parts])) for head, parts in zip(heads, told, strict=True)]
    found = []
    for contender, text in zip(candidates, texts, strict=True):
        clear = texts.count(text) == 1 and text not in taken
        found.append(replace(contender, name=text if clear else f"{text} (trial {contender.trials[0].number})"))
    return found
