"""SAE specs compared: each brought to the same L0s with the same seeds, rows and order of rows, then read off at equal L0."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archsearch.assembler.words import in_words, telling
from archsearch.errors import InvalidInput
from archsearch.evaluation.pairs import Pair, pairs
from archsearch.search.replicates import Replicates, Row
from archsearch.spec.space import TARGET

Document = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """An SAE spec as its user gave it: plain data, and how to parse it and to say where in its file a problem lies."""

    name: str
    source: str
    document: Document
    parse: Callable[[Document], Any]
    at_lines: Callable[[InvalidInput], InvalidInput]


@dataclass(frozen=True)
class Entry:
    """One spec of a comparison.

    `document`: the spec without L0 and seed, at the budget of the comparison; `levels`: L0s it is brought to, or None alone where it is
    trained as written, for the reason `why`; `words`: the spec in words, as it is at every level.
    """

    written: Written
    document: Document
    levels: tuple[float | None, ...]
    why: str
    words: str
    tokens: int
    batch: int

    @property
    def name(self) -> str:
        """The name it goes by."""
        return self.written.name

    def at(self, level: float | None, seed: int) -> Document:
        """Returns the spec at one L0 and one seed, of first weights and the order of rows alike."""
        training = {**self.document.get("training", {}), "seed": seed, "data_seed": seed}
        return {**self.document, **({} if level is None else {TARGET: level}), "training": training}


@dataclass(frozen=True)
class Plan:
    """What is trained: every entry at every level with every seed."""

    entries: tuple[Entry, ...]
    levels: tuple[float, ...]
    seeds: tuple[int, ...]

    def keys(self) -> dict[str, tuple[Entry, float | None, int]]:
        """Returns entry, level and seed of every run by its name; whole seeds first, so that what was stopped early holds pairs."""
        places = [(entry, level, seed) for seed in self.seeds for level in (*self.levels, None) for entry in self.entries]
        return {_key(entry.name, level, seed): (entry, level, seed) for entry, level, seed in places if level in entry.levels}

    def differences(self) -> dict[str, str]:
        """Returns what tells the specs apart, in words, by name."""
        told = telling([entry.words for entry in self.entries])
        return {entry.name: text for entry, text in zip(self.entries, told, strict=True)}

    def notes(self) -> list[str]:
        """Returns what a reader must know of the plan, a sentence each."""
        found = [f"{entry.name} is trained as written, and compared at its own L0 only: {entry.why}" for entry in self.entries if entry.why]
        if len({entry.batch for entry in self.entries}) > 1:
            steps = ", ".join(f"{e.name} takes {e.tokens // e.batch:,} steps of {e.batch:,} rows" for e in self.entries)
            found.append(f"batches differ, so that the same rows are other numbers of steps: {steps}")
        return found


@dataclass(frozen=True)
class Comparison:
    """A plan carried out: what was measured of each entry (`seed`, `asked` and a row of replicates), and the pairs judged."""

    plan: Plan
    rows: Mapping[str, Sequence[Row]]
    pairs: tuple[Pair, ...]

    def notes(self) -> list[str]:
        """Returns what a reader must know, a sentence each: of the plan, of failed runs, of runs that ended otherwise than asked."""
        failed, remarked = _told_runs(self.rows, "failure"), _told_runs(self.rows, "remark")
        return [*self.plan.notes(), *[f"{runs} failed: {text}" for runs, text in failed], *[f"{runs}: {text}" for runs, text in remarked]]


def plan(specs: Sequence[Written], levels: Sequence[float], seeds: int, changes: Mapping[str, int]) -> Plan:
    """Returns what a comparison trains; `changes`: `width`, and `tokens` and `batch` of training, put in the place of the specs'.

    Raises:
        InvalidInput: a spec is not legal, cannot reach some of the L0s, or they do not train on the same number of rows.
    """
    entries = tuple(_entry(spec, levels, changes) for spec in specs)
    if len({entry.tokens for entry in entries}) > 1:
        told = ", ".join(f"{entry.name} {entry.tokens:,}" for entry in entries)
        raise InvalidInput([f"the specs must train on the same number of tokens; got {told}; give one number for all with --tokens"])
    return Plan(entries, tuple(levels), tuple(range(seeds)))


def run(plan: Plan, replicates: Replicates) -> Comparison:
    """Trains and measures what is not there yet, and judges.

    Raises:
        InvalidInput: an SAE cannot be assembled on these activations, or two specs are the same.
        Interrupted: the user stopped it.
    """
    keys = plan.keys()
    _distinct(plan, replicates)
    measured = replicates.run({key: entry.at(level, seed) for key, (entry, level, seed) in keys.items()})
    rows: dict[str, list[Row]] = {entry.name: [] for entry in plan.entries}
    for key, (entry, level, seed) in keys.items():
        rows[entry.name].append({**measured[key], "name": entry.name, "seed": seed, "asked": level})
    return Comparison(plan, rows, tuple(pairs(rows, plan.levels)))


def _entry(spec: Written, levels: Sequence[float], changes: Mapping[str, int]) -> Entry:
    training = spec.document.get("training", {})
    document = {**spec.document, **{name: value for name, value in changes.items() if name == "width"}}
    document.pop(TARGET, None)
    if isinstance(training, dict):
        document["training"] = {**training, **{name: value for name, value in changes.items() if name != "width"}}
    plain = spec.parse(document)
    found: list[Any] = []
    problems: list[InvalidInput] = []
    for level in levels:
        try:
            found.append(spec.parse({**document, TARGET: level}))
        except InvalidInput as error:
            problems.append(error)
    why = ""
    if found and problems:
        raise InvalidInput([problem for error in problems for problem in error.problems])
    if problems:
        why = problems[0].problems[0].what
    elif all(_told(one) == _told(plain) for one in found):
        why = "nothing in it moves sparsity"
    specs = [plain] if why else found
    words = _common([in_words(_told(one)) for one in specs])
    return Entry(spec, document, (None,) if why else tuple(levels), why, words, plain.training.tokens, plain.training.batch)


def _told(spec: Any) -> Document:
    return spec.model_dump(mode="json", by_alias=True)


def _common(texts: list[str]) -> str:
    """Returns the words of a spec at several L0s as one text, with `as asked` where their numbers differ: `topk (k as asked)`."""
    split = [text.split(" ") for text in texts]
    if len({len(words) for words in split}) > 1:
        return texts[0]
    columns = zip(*split, strict=True)
    return " ".join(words[0] if len(set(words)) == 1 else re.sub(r"[\d.e+-]*\d", "as asked", words[0]) for words in columns)


def _distinct(plan: Plan, replicates: Replicates) -> None:
    """Assembles every entry at every level without data.

    Raises:
        InvalidInput: one cannot be assembled, or two are the same architecture, trained the same way.
    """
    seen: dict[frozenset[str], str] = {}
    for entry in plan.entries:
        try:
            runs = frozenset(replicates.planned(entry.name, entry.at(level, 0)).run for level in entry.levels)
        except InvalidInput as error:
            raise entry.written.at_lines(error) from None
        if runs in seen:
            what = f"{seen[runs]} and {entry.name} are the same SAE, trained the same way"
            raise InvalidInput([f"{what}, so that there is nothing to compare; name specs that differ"])
        seen[runs] = entry.name


def _told_runs(rows: Mapping[str, Sequence[Row]], field: str) -> list[tuple[str, str]]:
    """Returns which runs say something in `field`, and what the first of them says, an entry and L0 at a time."""
    found: dict[tuple[str, float | None], list[Row]] = {}
    for name, runs in rows.items():
        for row in runs:
            if row.get(field):
                found.setdefault((name, row["asked"]), []).append(row)
    return [(_key(name, level, *[row["seed"] for row in told]), told[0][field]) for (name, level), told in found.items()]


def _key(name: str, level: float | None, *seeds: int) -> str:
    at = "" if level is None else f" at L0 {level:g}"
    return f"{name}{at}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
