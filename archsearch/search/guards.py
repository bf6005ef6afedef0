"""What a study must agree with before it starts or goes on: its own past, and its activations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archsearch.assembler.check import check_space
from archsearch.errors import InvalidInput, Problem, StudyError
from archsearch.search.ledger import Ledger
from archsearch.search.provenance import NUMERICS
from archsearch.search.through_model import window_problems
from archsearch.spec.space import Space, corners
from archsearch.spec.template import Template
from archsearch.spec.yaml import Document, located

NOMINAL_WIDTH = 128
"""Width of the activations a space is checked at before they are opened; any will do."""


def same_space(ledger: Ledger, space: Space, folder: Path) -> None:
    """Refuses a study made with another space.

    Raises:
        StudyError: with what differs.
    """
    row = ledger.study()
    if row.fingerprint != space.fingerprint():
        changed = "\n  ".join(Space.read(Document(row.space)).difference(space))
        raise StudyError(
            f"{folder}: this study was made with another space; results of the two cannot be mixed. What differs:\n  {changed}\n"
            "Run it under another name or with another `--out`, or change the space back."
        )


def settings_of(ledger: Ledger) -> dict[str, Any]:
    """Returns the settings a study was begun with; the first versions wrote the executor elsewhere."""
    row = ledger.study()
    return {"executor": row.provenance["executor"], **row.settings}


def same_options(settings: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Refuses options given explicitly (not `auto`) that would change the numbers of a study already begun.

    Raises:
        StudyError: naming each with both values.
    """
    changed = [f"{name}: {settings[name]} -> {value}" for name, value in given.items() if value not in ("auto", settings[name])]
    if changed:
        raise StudyError(
            f"{folder}: this study was begun with other options; results of the two cannot be mixed. What differs:\n  "
            + "\n  ".join(changed)
            + "\nLeave them out to go on as it was begun, or run it with another `--out`."
        )


def same_data(ledger: Ledger, activations: Any, folder: Path) -> None:
    """Refuses to go on with activations or numerics other than those the study was begun with.

    Raises:
        StudyError: with what differs.
    """
    where = ledger.study().provenance
    was = where["activations"]["fingerprint"]
    if was != activations.fingerprint:
        raise StudyError(
            f"{folder}: the activations have changed since this study was begun, fingerprint {was[:12]} -> {activations.fingerprint[:12]}; "
            "results on the two cannot be compared. Put the old activations back, or run the study with another `--out`."
        )
    if where["numerics"] != NUMERICS:
        raise StudyError(
            f"{folder}: this study was begun by a version whose numbers differ (numerics {where['numerics']} -> {NUMERICS}). "
            "Go on with that version, or run the study with another `--out`."
        )


def fitting(space: Space, activations: Any, baselines: Mapping[str, dict[str, Any]]) -> None:
    """Refuses a space that does not fit its activations: their names, their width, whether there is a model behind them, and its windows.

    Raises:
        InvalidInput: with every problem of a kind.
    """
    problems: list[Problem] = []
    if "ce_recovered" in space.study.objectives and activations.make_splicer is None:
        what = "`ce_recovered` needs a language model, which this source of activations does not have; take it out, or use `source: model`"
        problems.append(Problem(what, "study.objectives"))
    trees = [
        (space.template, "sae.inputs"),
        *((Template.read(tree, root=("baselines", name)), f"baselines.{name}") for name, tree in baselines.items()),
    ]
    for template, path in trees:
        documents = corners(template)
        problems += window_problems(documents, activations)
        read = dict.fromkeys(tuple(filled.document.get("inputs", ["x"])) for filled in documents)
        for names in read:
            if set(names) != set(activations.names):
                what = f"must name the activations' signals, {list(activations.names)}; got {list(names)}"
                problems.append(Problem(what, path))
    if problems:
        raise InvalidInput(located(problems, space.source.marks, space.source.file))
    if activations.d_model != NOMINAL_WIDTH:
        check_space(space, model=activations.d_model, recipes=baselines)
