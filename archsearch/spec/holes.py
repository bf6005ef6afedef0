"""Holes: what a space leaves open.

Value holes stand where a number or a word would: `{float: [lo, hi], log: true}`, `{int: [lo, hi], log: true}`, `{choice: [...]}`.
Structure holes stand where a block would: `{oneof: {branch: block}}`, and in a graph `{repeat: block, min: 0, max: 3}`.
`float`, `int`, `choice`, `oneof` and `repeat` are reserved words: a mapping with such a key is a hole.
Any of them may say with `prior:` where its author expects good values: `{float: [0.0003, 0.003], log: true, prior: 0.001}`. A prior moves
where a study looks first; what is legal stays as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.yaml import Key, dotted

Primitive = str | int | float | bool | None

_DIGITS = 3
"""Significant digits floats are cut to when sampled, so that two samples can be equal."""

_OPTIONS = {
    "float": ("log", "prior"),
    "int": ("log", "prior"),
    "choice": ("prior",),
    "oneof": ("prior",),
    "repeat": ("min", "max", "prior"),
}
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Suggest(Protocol):
    """Whatever fills holes: Optuna's `Trial` is one."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class FloatHole:
    """A real number in [low, high], uniform or log-uniform, cut to three significant digits when sampled.

    `prior`, of every hole: the one value its author expects to be good; empty where nothing is said.
    """

    low: float
    high: float
    log: bool = False
    prior: tuple[float, ...] = ()

    def suggest(self, name: str, trial: Suggest) -> float:
        """Returns a value; an enqueued or stored one outside the range is refused."""
        value = trial.suggest_float(name, self.low, self.high, log=self.log)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise InvalidInput([f"{name} must be a number from {self.low!r} to {self.high!r}; got {value!r}"])
        return self._cut(value)

    def spread(self, count: int) -> list[float]:
        """Returns `count` values evenly over the range (in its logarithm if `log`), both ends included; one is the middle."""
        return list(dict.fromkeys(self._cut(value) for value in _spread(self.low, self.high, self.log, count)))

    def _cut(self, value: float) -> float:
        # Cut first, then clamped: a bound with more digits than that is still reachable, and cutting twice changes nothing.
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class IntHole:
    """A whole number from low to high, both included, uniform or log-uniform."""

    low: int
    high: int
    log: bool = False
    prior: tuple[int, ...] = ()

    def suggest(self, name: str, trial: Suggest) -> int:
        """Returns a value; an enqueued or stored one outside the range is refused."""
        value = trial.suggest_int(name, self.low, self.high, log=self.log)
        if isinstance(value, bool) or value != int(value) or not self.low <= value <= self.high:
            raise InvalidInput([f"{name} must be a whole number from {self.low} to {self.high}; got {value!r}"])
        return int(value)

    def spread(self, count: int) -> list[int]:
        """Returns up to `count` distinct values evenly over the range (in its logarithm if `log`), both ends included."""
        return list(dict.fromkeys(round(value) for value in _spread(self.low, self.high, self.log, count)))


@dataclass(frozen=True)
class ChoiceHole:
    """One of several words or numbers, sorted so that their order in the file means nothing."""

    values: tuple[Primitive, ...]
    prior: tuple[Primitive, ...] = ()

    def suggest(self, name: str, trial: Suggest) -> Primitive:
        """Returns a value; an enqueued or stored one that is not among them is refused."""
        value = trial.suggest_categorical(name, self.values)
        if value not in self.values:
            raise InvalidInput([f"{name} must be one of {list(self.values)}; got {value!r}"])
        return self.values[self.values.index(value)]

    def spread(self, count: int) -> list[Primitive]:
        """Returns up to `count` distinct values evenly over the list, both ends included."""
        places = _spread(0, len(self.values) - 1, False, count)
        return [self.values[index] for index in dict.fromkeys(round(place) for place in places)]


def _spread(low: float, high: float, log: bool, count: int) -> list[float]:
    if count == 1:
        return [math.sqrt(low * high) if log else (low + high) / 2]
    shares = [index / (count - 1) for index in range(count)]
    return [low * (high / low) ** share if log else low + (high - low) * share for share in shares]


ValueHole = FloatHole | IntHole | ChoiceHole


@dataclass(frozen=True)
class OneOf:
    """One of several subtrees, by branch."""

    branches: dict[str, Any]
    prior: tuple[str, ...] = ()

    @property
    def tags(self) -> ChoiceHole:
        """The categorical that picks the branch."""
        return ChoiceHole(tuple(sorted(self.branches)), self.prior)


@dataclass(frozen=True)
class Repeat:
    """A block of a graph, standing there `min` to `max` times in a row as `label_1`, `label_2`, ..."""

    block: Any
    min: int
    max: int
    prior: tuple[int, ...] = ()

    @property
    def count(self) -> IntHole:
        """The whole number of copies."""
        return IntHole(self.min, self.max, prior=self.prior)


VALUES = (FloatHole, IntHole, ChoiceHole)
"""Value holes, for `isinstance`."""


def read_tree(node: Any, path: Key, problems: list[Problem], in_graph: bool = False) -> Any:
    """Returns `node` with every hole in it as an object; what is wrong goes to `problems`, with its path.

    `in_graph`: whether `node` is an entry of a `graph:` mapping, where blocks may repeat.
    """
    if isinstance(node, dict):
        word = next((word for word in _OPTIONS if word in node), None)
        if word:
            return _read_hole(word, node, path, problems, in_graph)
        inside = bool(path) and path[-1] == "graph"
        return {key: read_tree(entry, (*path, key), problems, in_graph=inside) for key, entry in node.items()}
    if isinstance(node, list):
        return [read_tree(entry, (*path, index), problems) for index, entry in enumerate(node)]
    return node


def _read_hole(word: str, node: dict[str, Any], path: Key, problems: list[Problem], in_graph: bool) -> Any:
    allowed = (word, *_OPTIONS[word])
    unknown = [key for key in node if key not in allowed]
    for key in unknown:
        what = f"a {word!r} hole has no key {key!r}; {nearest(key, allowed)}"
        problems.append(Problem(f"{what} ({word!r} is a reserved word: no label or setting may bear it)", dotted((*path, key))))
    if unknown:
        return None
    if word in ("float", "int"):
        return _read_range(word, node, path, problems)
    if word == "choice":
        return _read_choice(node, path, problems)
    if word == "oneof":
        return read_oneof(node, path, problems, in_graph)
    return _read_repeat(node, path, problems, in_graph)


def _read_range(word: str, node: dict[str, Any], path: Key, problems: list[Problem]) -> FloatHole | IntHole | None:
    whole = word == "int"
    bounds, log = node[word], node.get("log", False)
    example = "{int: [4, 64]}" if whole else "{float: [0.1, 10]}"
    types = (int,) if whole else (int, float)
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(is_number(b, types) for b in bounds):
        kind = "whole numbers" if whole else "numbers"
        problems.append(Problem(f"must be two {kind}, lowest and highest, as in `{example}`; got {bounds!r}", dotted((*path, word))))
        return None
    low, high = bounds
    found = []
    if not isinstance(log, bool):
        found.append(Problem(f"must be true or false; got {log!r}", dotted((*path, "log"))))
    if low == high:
        found.append(Problem(f"a range must have more than one value; got {bounds!r}: write {low!r} instead", dotted((*path, word))))
    elif low > high:
        found.append(Problem(f"the lowest value comes first; got {bounds!r}: write [{high!r}, {low!r}]", dotted((*path, word))))
    if log is True and min(low, high) <= 0:
        found.append(Problem(f"a logarithmic range must start above zero; got {bounds!r}", dotted((*path, word))))
    problems += found
    if found:
        return None
    prior = _number_prior(node, low, high, types, path, problems)
    return IntHole(low, high, log, prior) if whole else FloatHole(float(low), float(high), log, tuple(map(float, prior)))


def _number_prior(
    node: dict[str, Any], low: Any, high: Any, types: tuple[type, ...], path: Key, problems: list[Problem]
) -> tuple[Any, ...]:
    """Returns the prior of a range, empty where there is none; one outside the range goes to `problems`."""
    if "prior" not in node:
        return ()
    prior = node["prior"]
    if is_number(prior, types) and low <= prior <= high:
        return (prior,)
    kind = "number" if float in types else "whole number"
    problems.append(
        Problem(f"a prior must be a {kind} from {low!r} to {high!r}, the hole's own range; got {prior!r}", dotted((*path, "prior")))
    )
    return ()


def choice_prior(node: dict[str, Any], values: Sequence[Primitive], path: Key, problems: list[Problem]) -> tuple[Any, ...]:
    """Returns the prior of a choice, empty where there is none; one that is not among the values goes to `problems`."""
    if "prior" not in node:
        return ()
    prior = node["prior"]
    known = [value for value in values if value == prior and isinstance(value, bool) == isinstance(prior, bool)]
    if not known:
        words = [value for value in values if isinstance(value, str)]
        hint = nearest(prior, words) if isinstance(prior, str) and words else f"valid: {list(values)}"
        problems.append(Problem(f"a prior must be one of the hole's own values; got {prior!r}; {hint}", dotted((*path, "prior"))))
    return tuple(known[:1])


def is_number(value: Any, types: tuple[type, ...] = (int, float)) -> bool:
    """Tells whether `value` is a finite number of one of the types; Python takes true for 1, this does not."""
    return isinstance(value, types) and not isinstance(value, bool) and math.isfinite(value)


def _read_choice(node: dict[str, Any], path: Key, problems: list[Problem]) -> ChoiceHole | None:
    values, where = node["choice"], dotted((*path, "choice"))
    if not isinstance(values, list) or not values:
        problems.append(Problem(f"must list at least one value, as in `{{choice: [a, b]}}`; got {values!r}", where))
        return None
    deep = [value for value in values if isinstance(value, (dict, list))]
    if deep:
        what = f"may list only words, numbers, true, false and null; got {deep[0]!r}: a choice among blocks is `oneof`"
        problems.append(Problem(what, where))
        return None
    # `in` compares with ==, as Optuna does: 1, 1.0 and true would be one value to it.
    twice = [value for index, value in enumerate(values) if value in values[:index]]
    if twice:
        problems.append(Problem(f"may list each value once (1, 1.0 and true count as one); got {twice[0]!r} twice", where))
        return None
    ordered = tuple(sorted(values, key=_rank))
    return ChoiceHole(ordered, choice_prior(node, ordered, path, problems))


def _rank(value: Primitive) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, bool):
        return (1, float(value), "")
    return (3, 0.0, value) if isinstance(value, str) else (2, float(value), "")


def read_oneof(node: dict[str, Any], path: Key, problems: list[Problem], in_graph: bool = False) -> OneOf | None:
    """Returns the branches of `{oneof: {name: ...}}` at `path`, or None where they are no mapping of names."""
    branches, inside = node["oneof"], (*path, "oneof")
    if not isinstance(branches, dict) or not branches:
        problems.append(Problem(f"must map names of branches to what they stand for; got {branches!r}", dotted(inside)))
        return None
    for name in branches:
        check_name(name, "a branch", (*inside, name), problems)
    prior = choice_prior(node, sorted(branches), path, problems)
    return OneOf({name: read_tree(entry, (*inside, name), problems, in_graph) for name, entry in branches.items()}, prior)


def _read_repeat(node: dict[str, Any], path: Key, problems: list[Problem], in_graph: bool) -> Repeat | None:
    low, high = node.get("min", 0), node.get("max")
    found = []
    if not in_graph:
        found.append(Problem("`repeat` stands for blocks in a row: it may only be an entry of a `graph:`", dotted(path)))
    if not is_number(low, (int,)) or low < 0:
        found.append(Problem(f"must be a whole number, 0 or more; got {low!r}", dotted((*path, "min"))))
    elif "max" not in node:
        found.append(Problem("a `repeat` must say its `max`", dotted(path)))
    elif not is_number(high, (int,)) or high <= low:
        found.append(Problem(f"must be a whole number above min ({low!r}); got {high!r}", dotted((*path, "max"))))
    if not isinstance(node["repeat"], (dict, str)):
        found.append(Problem(f"must be a block; got {node['repeat']!r}", dotted((*path, "repeat"))))
    block = read_tree(node["repeat"], (*path, "repeat"), problems)
    if isinstance(block, Repeat):
        found.append(Problem("a `repeat` may not stand directly in another", dotted((*path, "repeat"))))
    problems += found
    return None if found or high is None else Repeat(block, low, high, _number_prior(node, low, high, (int,), path, problems))


def sorted_items(node: Any) -> Iterator[tuple[str | int, Any]]:
    """Yields the entries of a mapping (sorted by key) or of a list; nothing for anything else."""
    if isinstance(node, dict):
        yield from sorted(node.items())
    elif isinstance(node, list):
        yield from enumerate(node)


def check_name(name: str, what: str, path: Key, problems: list[Problem]) -> None:
    """Refuses a name that would not be readable inside a hole's name."""
    if not _NAME.fullmatch(name):
        problems.append(Problem(f"the name of {what} may hold letters, digits, `_` and `-` only; got {name!r}", dotted(path)))
