"""The calibrations that cut finished SAEs to the points of a study."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from archsearch.assembler.validate import validate
from archsearch.blocks.calibrations._base import Calibration
from archsearch.blocks.catalogue import Catalogue, catalogue
from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.space import StudySpec

PATH = "study.points.cut"

Entry = dict[str, Any]


def calibrations(study: StudySpec, blocks: Catalogue | None = None) -> dict[float, Entry]:
    """Returns the calibration of each point of a study by its L0, as specs write it; none where it has no points.

    Raises:
        InvalidInput: `cut` is no calibration that can be asked for an L0, or asks for one itself.
    """
    if study.points is None:
        return {}
    blocks = blocks or catalogue()
    cut = study.points.cut or Calibration.cutting
    entry = {"kind": cut} if isinstance(cut, str) else cut
    kind, asking = entry.get("kind"), _asking(blocks)
    if kind not in asking:
        what = f"must be a calibration that can be asked for an L0; got kind {kind!r}"
        raise InvalidInput([Problem(f"{what}; {nearest(str(kind), list(asking))}", f"{PATH}.kind")])
    setting = asking[kind]
    if setting in entry:
        what = f"`points` says which L0s to cut to, so leave it out here; got {entry[setting]!r}"
        raise InvalidInput([Problem(what, f"{PATH}.{setting}")])
    problems: list[Problem] = []
    found = {level: {**entry, setting: level} for level in study.cut_to}
    validate(TypeAdapter(blocks[kind].Spec), next(iter(found.values())), PATH, problems)
    if problems:
        raise InvalidInput(problems)
    return found


def _asking(blocks: Catalogue) -> dict[str, str]:
    """Returns the setting that is an L0, by kind, of the calibrations that have one."""
    return {kind: block.l0_setting for kind, block in blocks.blocks.items() if issubclass(block, Calibration) and block.l0_setting}
