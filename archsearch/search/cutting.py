"""Cuts the finished SAEs of a study to the L0s of its points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.assembler.build import Assembly
from archsearch.assembler.parse import parse
from archsearch.assembler.points import calibrations
from archsearch.assembler.resolved import resolved
from archsearch.assembler.sae import SAE
from archsearch.blocks.calibrations._base import Calibration
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput
from archsearch.search.jobs import Setting, run_hash
from archsearch.search.records import APART, Point
from archsearch.spec.space import StudySpec
from archsearch.training.events import cut
from archsearch.training.member import Member


@dataclass(frozen=True)
class Cutting:
    """Cuts trained SAEs to the points of a study; without any, it cuts none.

    `entries`: the calibration of each point, by its L0; `reach`: how far below its own L0 an SAE is cut, as a factor.
    """

    entries: Mapping[float, dict[str, Any]]
    setting: Setting
    reach: float = math.inf

    @staticmethod
    def of(study: StudySpec, setting: Setting) -> Cutting:
        """Returns what cuts to the points of a study.

        Raises:
            InvalidInput: its calibration cannot.
        """
        return Cutting(calibrations(study), setting, study.points.reach if study.points else math.inf)

    def near(self, l0: float) -> list[float]:
        """Returns the L0s that an SAE of that L0 is cut to, if it can be."""
        return [level for level in self.entries if level * APART < l0 <= level * self.reach]  # NaN is near none

    def saes(self, member: Member, l0: float) -> list[tuple[float, Assembly]]:
        """Returns each L0 that a finished member of that L0 can be cut to, with the SAE it is then; they share the member's weights.

        One with a calibration of its own is cut already. Left out is an L0 that paths past the codes use up, and one that the cut does not
        reach (a code of equal values goes all at once).
        """
        if member.assembly.calibration is not None:
            return []
        own = resolved(member.assembly)
        specs = {level: parse({**own, "calibration": self.entries[level]}) for level in self.near(l0)}
        specs = {level: spec for level, spec in specs.items() if _suits(spec.calibration, member.sae)}
        found = cut(member.sae, list(specs.values()), member.calibrate)
        return [(level, sae) for level, (sae, remark) in zip(specs, found, strict=True) if not remark]

    def point(self, level: float, assembly: Assembly, measurements: dict[str, float]) -> Point:
        """Returns an SAE that was cut as a point of its trial."""
        return Point(float(level), resolved(assembly), run_hash(assembly.spec, assembly, self.setting), measurements)


def _suits(entry: Any, sae: SAE) -> bool:
    """Tells whether the calibration of a spec can act on an SAE."""
    calibration = catalogue()[entry.kind](entry)
    assert isinstance(calibration, Calibration)  # the grammar let it in
    try:
        calibration.suits(sae.graph.dense_rank)
    except InvalidInput:
        return False
    return True
