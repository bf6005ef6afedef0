"""The choices an SAE made, each put back by itself.

A choice is put back to what the best baseline at that L0 has there, else to the block's default; a branch to the one of which the SAE
comes nearest to that baseline. All the rest stays as the SAE has it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput, StudyError
from archsearch.evaluation.curves import at_l0
from archsearch.search.placing import MISSING, Places, allows, branches, value_at
from archsearch.search.records import StudyRecord, TrialRecord, front
from archsearch.search.swaps import swaps
from archsearch.spec.space import TARGET, Space, sparsity_holes
from archsearch.spec.template import Filled
from archsearch.spec.yaml import Document as File

Document = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One choice put back: `choice`, its hole or its path; `own` and `back`, the two values; `document`, the spec that comes of it.

    `why`: where it could not be trained, the reason.
    """

    choice: str
    own: Any
    back: Any
    document: Document | None
    why: str = ""

    @property
    def name(self) -> str:
        """The choice and both of its values, in words."""
        return f"{self.choice} {_worded(self.own)} -> {_worded(self.back)}"


def changes_of(record: StudyRecord, trial: TrialRecord, model: int, by_settings: bool = False) -> tuple[str, list[Change], list[str]]:
    """Returns what choices are put back to in words, every choice put back, and what a reader must know of it.

    They are the holes of the space where the SAE lies in it; else, and with `by_settings`, every difference of its spec from the
    reference's.
    """
    notes = []
    try:
        places = Places(Space.read(File(record.space)), model)
    except InvalidInput as error:
        places, told = None, error.problems[0]
        notes.append(f"the space cannot be read any more ({told}), so that settings and blocks are put back one by one")
    name, reference = _reference(record, trial, places)
    if places is not None:
        spec, reference = places.built(trial.spec), places.built(reference)  # written by an earlier version, they may lack a default
        if by_settings:
            return name, [Change(*swap) for swap in swaps(spec, reference)], notes
        filled = places.of(spec, trial.params)
        if filled is not None:
            return name, _holes(places, filled, spec, reference), notes
    if places is not None:
        notes.append("the SAE lies outside the space, so that settings and blocks are put back one by one, not whole branches")
    return name, [Change(*swap) for swap in swaps(trial.spec, reference)], notes


def _reference(record: StudyRecord, trial: TrialRecord, places: Places | None) -> tuple[str, Document]:
    """Returns the best baseline at a trial's L0, as tuned there; without any, the plainest SAE of the space.

    Raises:
        StudyError: there is neither.
    """
    everywhere, l0 = (math.ulp(0.0), math.inf), trial.measurements["l0"]
    names = dict.fromkeys(one.baseline for one in record.trials if one.baseline)
    curves = {name: front([one for one in record.trials if one.baseline == name], everywhere) for name in names}
    best: tuple[float, TrialRecord] | None = None
    for curve in (curve for curve in curves.values() if curve):
        points = [(one.measurements["l0"], one.measurements["fvu"]) for one in curve]
        there = at_l0(points, min(max(l0, points[0][0]), points[-1][0]))  # one that does not reach so far stands at its end
        nearest = min(curve, key=lambda one: abs(math.log(one.measurements["l0"] / l0)))
        if there is not None and (best is None or there < best[0]):
            best = there, nearest
    if best is not None:
        return f"baseline {best[1].baseline} (trial {best[1].number})", best[1].spec
    if places is None:
        raise StudyError(f"{record.name}: it has no baseline, and its space cannot be read; there is nothing to put a choice back to")
    groups = places.space.template.groups
    fewest = {group.name: min(sorted(group.branches), key=lambda name, of=group: len(of.branches[name])) for group in groups}
    return "the plainest branches of the space", places.built(places.filled(fewest, trial.spec).document)


def _holes(places: Places, filled: Filled, spec: Document, reference: Document) -> list[Change]:
    """Returns every hole put back where it is not as the reference has it already."""
    swept = {TARGET, *sparsity_holes(filled, catalogue().sparsity)}
    found = []
    for name, own in filled.params.items():
        if name in swept:
            continue
        change = _value(places, filled, name, spec, reference) if name in filled.path_of else _branch(places, filled, name, reference)
        if change is not None:
            found.append(replace(change, choice=_short(name, filled), own=own))
    return found


def _value(places: Places, filled: Filled, name: str, spec: Document, reference: Document) -> Change | None:
    """Returns a value put back; None where it is as it would be put."""
    own, path, hole = filled.params[name], filled.path_of[name], places.space.parameters()[name].hole
    block, other = value_at(spec, path[:-1]), value_at(reference, path[:-1])
    kind = block.get("kind") if isinstance(block, dict) else None
    same = isinstance(other, dict) and other.get("kind") == kind
    fields = catalogue().blocks[kind].Spec.model_fields if kind in catalogue().blocks else {}
    default = fields[str(path[-1])].default if str(path[-1]) in fields else MISSING
    offered = [value for value in (other.get(path[-1], MISSING) if same else MISSING, default) if value is not MISSING]
    legal = [value for value in offered if allows(hole, value)]
    if not legal:
        why = "neither the reference nor the block's default has a value that the space allows there"
        return Change(name, own, offered[0] if offered else None, None, why)
    if legal[0] == own:
        return None
    return Change(name, own, legal[0], places.filled({**filled.params, name: legal[0]}, spec).document)


def _branch(places: Places, filled: Filled, name: str, reference: Document) -> Change | None:
    """Returns a branch put back to the one that comes nearest to the reference; None where it is that one, or has no other."""
    inside = {key: value for key, value in filled.params.items() if not key.startswith(f"{name}@") and key in filled.path_of}
    kept = inside | {key: filled.params[key] for key in branches(filled) if not key.startswith(f"{name}@")}
    own = filled.params[name]
    best: tuple[float, Any, Document] | None = None
    mine = math.inf
    for option in places.space.parameters()[name].values():
        document = places.filled({**kept, name: option}, reference).document if option != own else filled.document
        far = places.distance(document, reference)
        if option == own:
            mine = far
        elif best is None or far < best[0]:
            best = (far, option, document)
    if best is None or (mine < best[0] and not math.isinf(best[0])):
        return None
    return Change(name, own, best[1], best[2])


def _short(name: str, filled: Filled) -> str:
    """Returns the name of a hole by the last two steps of where it stands, the whole name where another one ends so too."""
    tails = [_tail(other) for other in filled.params]
    return _tail(name) if tails.count(_tail(name)) == 1 else name


def _tail(name: str) -> str:
    return ".".join(re.sub(r"@[^.]*", "", name).split(".")[-2:])


def _worded(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
